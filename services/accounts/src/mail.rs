//! How mail leaves: by an SMTP server, or into a folder where there is none. The one rule:
//! neither the server's password nor a letter's address or words reach the log.

use std::{
    fmt,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Duration,
};

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Body, Mailbox, header::ContentTransferEncoding},
    transport::smtp::PoolConfig,
};
use tokio::time::timeout;

use crate::{Error, email::Email, letter::Words};

/// A server that says nothing for so long is away.
const SMTP_DEADLINE: Duration = Duration::from_secs(10);
/// For a letter with all that is said about it, and its turn among others: less than a sender
/// has it for itself.
const SEND_DEADLINE: Duration = Duration::from_secs(45);
/// Connections kept to it.
const CONNECTIONS: u32 = 4;
/// Of a letter's line, without its end: RFC 5322, 2.1.1.
const LINE_MAX: usize = 998;
/// Who sees the folder's letters needs no more of them.
const FOLDER_MAX: usize = 10_000;

/// Where letters go.
#[derive(Clone)]
pub struct Mail {
    from: Mailbox,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

/// Why a letter did not get away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another time it may.
    ForNow(&'static str),
    /// It never will.
    ForGood(&'static str),
}

impl Mail {
    /// By a server: `smtps://user:password@host` (TLS from the start), or
    /// `smtp://user:password@host:587?tls=required` (STARTTLS). Without TLS, `smtp://host:port`,
    /// it takes no password: nobody on the way shall read one. To be called in a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Mail`], which does not repeat the URL.
    pub fn smtp(url: &str, from: &str) -> Result<Self, Error> {
        let looks_like = Error::Mail(
            "a mail server looks like smtps://user:password@host or smtp://host:25, with ?tls=required for STARTTLS",
        );
        let secure = url.starts_with("smtps://") || url.ends_with("?tls=required");
        if !secure && url.contains('@') {
            return Err(Error::Mail(
                "a mail server takes a password by TLS alone: smtps://, or ?tls=required",
            ));
        }
        let Ok(builder) = AsyncSmtpTransport::<Tokio1Executor>::from_url(url) else {
            return Err(looks_like);
        };
        let smtp = builder
            .timeout(Some(SMTP_DEADLINE))
            .pool_config(PoolConfig::new().max_size(CONNECTIONS))
            .build();
        Ok(Self {
            from: mailbox(from)?,
            way: Way::Smtp(smtp),
        })
    }

    /// Into a folder, one file a letter, for its owner alone; made when it is not there.
    ///
    /// # Errors
    /// [`Error::Mail`].
    pub fn folder(folder: &Path, from: &str) -> Result<Self, Error> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|_| Error::Mail("the folder for mail cannot be made"))?;
        Ok(Self {
            from: mailbox(from)?,
            way: Way::Folder(folder.to_owned()),
        })
    }

    /// The folder, if it is one.
    #[must_use]
    pub fn is_folder(&self) -> Option<&Path> {
        match &self.way {
            Way::Folder(folder) => Some(folder),
            Way::Smtp(_) => None,
        }
    }

    /// Hands a letter over; its number names it in the folder.
    pub(crate) async fn send(&self, number: i64, to: &Email, words: Words) -> Result<(), Failure> {
        let no_letter = |_| Failure::ForGood("it cannot be written as mail");
        let address = to.as_str().parse().map_err(no_letter)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address))
            .subject(words.subject)
            .header(lettre::message::header::ContentType::TEXT_PLAIN)
            .body(plain(words.body))
            .map_err(|_| Failure::ForGood("it cannot be written as mail"))?;
        match &self.way {
            Way::Smtp(smtp) => by_smtp(smtp, message).await,
            Way::Folder(folder) => {
                let file = folder.join(format!("{number:06}.eml"));
                put(folder.clone(), file, message.formatted()).await
            }
        }
    }
}

async fn by_smtp(
    smtp: &AsyncSmtpTransport<Tokio1Executor>,
    message: Message,
) -> Result<(), Failure> {
    let silent = Failure::ForNow("the mail server is silent");
    match timeout(SEND_DEADLINE, smtp.send(message)).await {
        Ok(Ok(_)) => Ok(()),
        Err(_) => Err(silent),
        // RFC 4954, 6: what is wrong is our log-in, which the operator can mend.
        Ok(Err(error))
            if error
                .status()
                .is_some_and(|code| u16::from(code) / 10 == 53) =>
        {
            Err(Failure::ForNow("the mail server refuses our log-in"))
        }
        Ok(Err(error)) if error.is_permanent() => {
            Err(Failure::ForGood("the mail server refused it"))
        }
        Ok(Err(error)) if error.is_timeout() => Err(silent),
        Ok(Err(error)) if error.is_transient() => {
            Err(Failure::ForNow("the mail server put it off"))
        }
        Ok(Err(_)) => Err(Failure::ForNow("the mail server is away")),
    }
}

async fn put(folder: PathBuf, file: PathBuf, letter: Vec<u8>) -> Result<(), Failure> {
    let putting = tokio::task::spawn_blocking(move || {
        if std::fs::read_dir(&folder)?.take(FOLDER_MAX).count() == FOLDER_MAX {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        boot::files::write_secret_atomically(&file, &letter)
    });
    match putting.await {
        Ok(Ok(())) => Ok(()),
        _ => Err(Failure::ForNow("the folder for mail takes no more")),
    }
}

/// A body as it is, where mail may carry it so. Lettre would break a link's line in two and
/// escape its `=`; whoever reads a letter as a file in the folder could not follow it.
fn plain(body: String) -> Body {
    if !body.is_ascii() || body.lines().any(|line| line.len() > LINE_MAX) {
        return Body::new(body);
    }
    let lines = body.lines().flat_map(|line| [line, "\r\n"]);
    let bytes = lines.collect::<String>().into_bytes();
    Body::dangerous_pre_encoded(bytes, ContentTransferEncoding::SevenBit)
}

fn mailbox(from: &str) -> Result<Mailbox, Error> {
    from.parse()
        .map_err(|_| Error::Mail("mail is from an address such as Livestation <tv@live.example>"))
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Smtp(_) => f.write_str("Mail(smtp)"),
            Way::Folder(folder) => write!(f, "Mail({})", folder.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::Purpose;

    #[tokio::test]
    async fn a_password_goes_by_tls_alone_and_is_not_repeated() {
        boot::start().expect("it starts");
        let smtp = |url: &str| Mail::smtp(url, "tv@live.example");
        for good in [
            "smtp://127.0.0.1:2525",
            "smtps://u:hush@mail.example",
            "smtp://u:hush@mail.example:587?tls=required",
        ] {
            assert!(smtp(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "mail.example",
            "http://hush@x",
            "smtp://u:hush@mail.example",
        ] {
            let refused = smtp(bad).expect_err(bad).to_string();
            assert!(!refused.contains("hush"), "{refused}");
        }
        assert!(Mail::smtp("smtp://127.0.0.1:25", "nobody").is_err());
    }

    #[tokio::test]
    async fn a_letter_in_the_folder_has_its_link_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let mail = Mail::folder(folder.path(), "tv@live.example").expect("mail");
        let to = Email::parse("ann@mail.example").expect("an address");
        let link = "lsl_".to_owned() + &"x".repeat(43);
        let words = Purpose::Confirm.words("https://a-longer-name.live.example", &link);
        mail.send(7, &to, words).await.expect("it is written");
        let letter = std::fs::read_to_string(folder.path().join("000007.eml")).expect("a letter");
        let line = format!(
            "\r\n\r\nhttps://a-longer-name.live.example/signup/confirm?link={link}\r\n\r\n"
        );
        assert!(letter.contains(&line), "{letter}");
    }

    #[test]
    fn a_line_that_mail_cannot_carry_is_encoded() {
        let encoding = |line: &str| plain(format!("a\n{line}\nb\n")).encoding();
        let (fits, over) = ("x".repeat(LINE_MAX), "x".repeat(LINE_MAX + 1));
        assert_eq!(encoding(&fits), ContentTransferEncoding::SevenBit);
        assert_ne!(encoding(&over), ContentTransferEncoding::SevenBit);
        assert_ne!(encoding("ä"), ContentTransferEncoding::SevenBit);
    }
}
