//! What can go wrong in accounts, and what gRPC callers are told of it.

/// A variant per thing that a caller does differently.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is taken by nobody.
    #[error("there is no such channel")]
    NoSuchChannel,
    /// No such key on that channel.
    #[error("there is no such stream key")]
    NoSuchKey,
    /// Unknown or revoked; the two are not told apart.
    #[error("this stream key is not valid")]
    WrongKey,
    /// Somebody was first.
    #[error("the name is taken")]
    NameTaken,
    /// Fields break their rules.
    #[error("a field is not as it must be")]
    Form(crate::form::Faults),
    /// E-mail and password do not belong together; which of them is wrong is not told.
    #[error("the e-mail or the password is wrong")]
    WrongPassword,
    /// Of a letter: unknown, used or too old; the three are not told apart.
    #[error("this link has been used, or is too old")]
    WrongLink,
    /// No such account.
    #[error("there is no such account")]
    NoSuchAccount,
    /// Still on the waiting list.
    #[error("the account waits to be let in")]
    Waiting,
    /// The token's scopes do not cover it.
    #[error("this token may not do that")]
    Scope,
    /// Passwords are being hashed for as many as there is room for.
    #[error("too many at once: try again in a moment")]
    Busy,
    /// Too often from one address, or for one account.
    #[error("too often: try again in a minute")]
    TooOften,
    /// The station can send no mail, so that nobody can sign up.
    #[error("this station sends no mail")]
    NoMail,
    /// A password could not be hashed, or a hash not be read.
    #[error("the password could not be hashed")]
    Hash,
    /// A page could not be made.
    #[error("the page could not be made")]
    Page,
    /// The mail server's URL, or the address that mail is from, is none.
    #[error("{0}")]
    Mail(&'static str),
    /// A field breaks its rule, which the message tells.
    #[error("{0}")]
    Invalid(&'static str),
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
    /// The database failed, or is away.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The configuration names no database; the message does not repeat what it names.
    #[error("{0}")]
    DatabaseUrl(&'static str),
    /// The database could not be brought to this version.
    #[error("database migration: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// The database lacks so many of this program's migrations, and is not this program's
    /// to change.
    #[error("the database lacks {0} of this version's migrations: run livestation migrate")]
    Behind(usize),
    /// A newer program has migrated the database.
    #[error(
        "the database is at migration {found}, and this program knows no further than {known}: \
         use a newer livestation"
    )]
    Ahead {
        /// The newest that was applied.
        found: i64,
        /// The newest of this program.
        known: i64,
    },
    /// The instance's lease has ended, or it never had one.
    #[error("there is no such living instance")]
    NoSuchInstance,
    /// The registry is full.
    #[error("too many instances are registered")]
    TooManyInstances,
    /// There is a living instance of this id, of a role that the caller does not speak for.
    #[error("an instance of another role has this id")]
    IdTaken,
    /// The caller's certificate does not name the role it speaks for.
    #[error("the caller's certificate is not for this role")]
    OtherRole,
    /// The instance and this program may not work together.
    #[error(transparent)]
    Version(#[from] boot::version::Error),
    /// A URL in the configuration is not one.
    #[error("the tracker's URL is not one: {0}")]
    TrackerUrl(tonic::transport::Error),
    /// The ticket would be longer than any verifier reads.
    #[error("the ticket could not be signed")]
    Ticket,
}

impl From<getrandom::Error> for Error {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error)
    }
}

/// That the database is away is one thing, whatever it was asked.
impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => Self::Database(error),
            error => Self::Migration(error),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NoSuchChannel
            | Error::NoSuchKey
            | Error::NoSuchInstance
            | Error::NoSuchAccount => Self::not_found(message),
            Error::TooManyInstances | Error::TooOften => Self::resource_exhausted(message),
            Error::Busy => Self::unavailable(message),
            Error::Waiting | Error::Scope => Self::permission_denied(message),
            Error::WrongPassword | Error::WrongLink => Self::unauthenticated(message),
            Error::Form(_) => Self::invalid_argument(message),
            Error::OtherRole | Error::IdTaken => Self::permission_denied(message),
            Error::Version(_) => Self::failed_precondition(message),
            Error::WrongKey => Self::unauthenticated(message),
            Error::NameTaken => Self::already_exists(message),
            Error::Invalid(_) => Self::invalid_argument(message),
            Error::Database(_) => {
                crate::metrics::outage();
                tracing::error!(%error, "the database does not answer");
                Self::unavailable("the database does not answer")
            }
            Error::Random(_)
            | Error::DatabaseUrl(_)
            | Error::Migration(_)
            | Error::Behind(_)
            | Error::Ahead { .. }
            | Error::TrackerUrl(_)
            | Error::NoMail
            | Error::Mail(_)
            | Error::Hash
            | Error::Page
            | Error::Ticket => {
                tracing::error!(%error, "cannot serve");
                Self::internal("accounts failed")
            }
        }
    }
}
