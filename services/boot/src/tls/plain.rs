//! Where plain text may be spoken. The command line asks before it binds a port.

use std::net::{IpAddr, SocketAddr};

use super::{Error, Mode, Tls};

impl Tls {
    /// Whether a service may answer at `address`.
    ///
    /// # Errors
    /// [`Error::Plain`].
    pub fn may_listen(&self, address: SocketAddr) -> Result<(), Error> {
        match self.0 {
            Mode::PlainOnLoopback if !address.ip().is_loopback() => Err(Error::Plain),
            _ => Ok(()),
        }
    }

    /// Whether a service may be called at `url` (`http://host:port` or `https://…`).
    ///
    /// # Errors
    /// [`Error::Scheme`] when the URL's scheme is not that of this process, [`Error::Plain`].
    pub fn may_call(&self, url: &str) -> Result<(), Error> {
        let (scheme, place) = url.split_once("://").unwrap_or_default();
        if scheme != self.scheme() {
            let given = match self.0 {
                Mode::Mutual(_) => "given",
                _ => "not given",
            };
            return Err(Error::Scheme(self.scheme(), given));
        }
        match self.0 {
            Mode::PlainOnLoopback if !is_loopback(place) => Err(Error::Plain),
            _ => Ok(()),
        }
    }
}

/// Names are not looked up: what they mean may change.
fn is_loopback(place: &str) -> bool {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_loopback_unless_it_is_asked_for() {
        let on_loopback = Tls::default();
        for (address, url, fits) in [
            ("127.0.0.1:7700", "http://127.0.0.1:7700", true),
            ("127.9.9.9:7700", "http://localhost:7700", true),
            ("[::1]:7700", "http://[::1]:7700", true),
            ("0.0.0.0:7700", "http://accounts.example:7700", false),
            ("[::]:7700", "http://[2001:db8::1]:7700", false),
            ("192.0.2.1:7700", "http://192.0.2.1:7700", false),
            ("10.0.0.1:7700", "http://localhost.example:7700", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(on_loopback.may_listen(address).is_ok(), fits, "{address}");
            assert_eq!(on_loopback.may_call(url).is_ok(), fits, "{url}");
            assert!(Tls::plain_anywhere().may_listen(address).is_ok());
            assert!(Tls::plain_anywhere().may_call(url).is_ok());
        }
    }

    #[test]
    fn a_url_that_speaks_tls_is_not_called_in_plain_text() {
        for tls in [Tls::plain_on_loopback(), Tls::plain_anywhere()] {
            let refused = tls.may_call("https://127.0.0.1:7700");
            assert!(matches!(refused, Err(Error::Scheme("http", _))));
        }
    }
}
