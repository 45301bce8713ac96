//! Letters: what each says. Sent by `post`. The one rule: whoever gets one without having asked
//! for it is told what to do, which is nothing.

/// What a letter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its link makes the account.
    Confirm,
    /// Somebody signed up with a mailbox that has an account.
    Known,
    /// Its link gives a new password.
    Reset,
    /// The waiting is over.
    Approved,
}

/// A letter's words; plain text, which every reader shows.
pub(crate) struct Words {
    pub(crate) subject: &'static str,
    pub(crate) body: String,
}

impl Purpose {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Known => "known",
            Self::Reset => "reset",
            Self::Approved => "approved",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Confirm, Self::Known, Self::Reset, Self::Approved];
        all.into_iter().find(|purpose| purpose.as_str() == text)
    }

    /// Whether it has a link that does something.
    pub(crate) const fn has_link(self) -> bool {
        matches!(self, Self::Confirm | Self::Reset)
    }

    /// `site` is `https://host`; `link` what its link says, if it has one.
    pub(crate) fn words(self, site: &str, link: &str) -> Words {
        match self {
            Self::Confirm => Words {
                subject: "Confirm your e-mail for Livestation",
                body: format!(
                    "Welcome to the beta of Livestation.\n\n\
                     Follow this link within an hour and type the password that you chose:\n\n\
                     {site}/signup/confirm?link={link}\n\n\
                     If it was not you who signed up, do nothing: without the link there is no \
                     account.\n"
                ),
            },
            Self::Known => Words {
                subject: "You have an account at Livestation",
                body: format!(
                    "Somebody, perhaps you, signed up with this address, which has an account \
                     already. Nothing was changed.\n\n\
                     Log in:               {site}/login\n\
                     Choose a new password: {site}/login/forgot\n\n\
                     If it was not you, do nothing.\n"
                ),
            },
            Self::Reset => Words {
                subject: "Choose a new password for Livestation",
                body: format!(
                    "Follow this link within an hour to choose a new password:\n\n\
                     {site}/login/reset?link={link}\n\n\
                     If it was not you who asked for it, do nothing: your password stays.\n"
                ),
            },
            Self::Approved => Words {
                subject: "You are in: your channel at Livestation",
                body: format!(
                    "The waiting is over: you may make a channel and go on air.\n\n\
                     {site}/dashboard\n"
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_a_link_have_it() {
        for purpose in [
            Purpose::Confirm,
            Purpose::Known,
            Purpose::Reset,
            Purpose::Approved,
        ] {
            let words = purpose.words("https://live.example", "lsl_x");
            assert_eq!(words.body.contains("lsl_x"), purpose.has_link());
            assert!(words.body.contains("https://live.example/"));
            assert_eq!(Purpose::parse(purpose.as_str()), Some(purpose));
        }
    }
}
