//! E-mail addresses, as people type them at sign-up and log-in. The one rule: no `Debug` and no
//! log shows one.

use std::fmt;

use crate::form::Fault;

/// RFC 5321, 4.5.3.1, and what a path takes of its 256 bytes.
const ADDRESS_MAX: usize = 254;
const LOCAL_MAX: usize = 64;
const LABEL_MAX: usize = 63;

/// An address that mail can be sent to: plain ASCII, since look-alike letters would make two
/// accounts of what people read as one.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Reads what was typed; blanks around it are nobody's address.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Fault("Type your e-mail address."));
        }
        if text.len() > ADDRESS_MAX {
            return Err(Fault("An e-mail address has at most 254 characters."));
        }
        if !text.is_ascii() {
            return Err(Fault(
                "Use an address of plain letters; a domain with others has a form that begins with xn--.",
            ));
        }
        let whole = text
            .rsplit_once('@')
            .is_some_and(|(local, domain)| is_local(local) && is_domain(domain));
        match whole {
            true => Ok(Self(text.to_owned())),
            false => Err(Fault(
                "That is no e-mail address: it looks like you@example.com.",
            )),
        }
    }

    /// As its owner writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What tells mailboxes apart. Servers may tell `A@` from `a@`; none that people use does.
    pub(crate) fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// A dot-atom of RFC 5322.
fn is_local(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    text.len() <= LOCAL_MAX
        && text
            .split('.')
            .all(|atom| !atom.is_empty() && atom.bytes().all(plain))
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.contains('.') && text.split('.').all(is_label)
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in [
            "a@b.example",
            " Ann.Lee+tv@Mail.Example ",
            "o'neil@x-y.example",
        ] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.example", "a".repeat(65));
        let bad = [
            "",
            "a",
            "@b.example",
            "a@",
            "a@b",
            "a@b..example",
            "a@-b.example",
            "a b@c.example",
            ".a@b.example",
            "a@b.example\r\nBcc: c@d.example",
            "a@b@c.example",
            "а@b.example",
            "a\u{200b}@b.example",
            "<a@b.example>",
            "a@[127.0.0.1]",
            &long,
        ];
        for bad in bad {
            assert!(Email::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn capitals_make_no_second_mailbox_and_nothing_shows_it() {
        let email = Email::parse("Ann@Mail.Example").expect("an address");
        assert_eq!(email.key(), "ann@mail.example");
        assert_eq!(email.as_str(), "Ann@Mail.Example");
        assert!(!format!("{email:?}").contains("nn"));
    }
}
