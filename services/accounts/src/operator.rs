//! What the operator of a station does about its people: lets them in, invites, looks. Called
//! by the administrators' page and by `livestation admin`. The one rule: it needs the database
//! alone, so that it can be done from elsewhere while the station runs; letters that come of it
//! are sent by the station.

use crate::{
    Account, AccountId, Database, Error, Invitation,
    email::Email,
    form::{Fault, Faults, line},
    secret::Secret,
    store::{Queue, Store},
};

/// An invitation is for now: weeks, not years.
const INVITATION_DAYS_MAX: i64 = 365;
const NOTE_MAX: usize = 200;
const DAY_S: i64 = 24 * 3600;

/// How the beta does.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Beta {
    /// On the waiting list.
    pub waiting: i64,
    /// Let in.
    pub approved: i64,
    /// The mail.
    pub mail: Queue,
}

/// On a database that is of this version, or that is made to be if it is a file.
#[derive(Clone)]
pub struct Operator(Store);

impl Operator {
    pub(crate) fn new(store: Store) -> Self {
        Self(store)
    }

    /// Opens the database.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Migration`], [`Error::Behind`], [`Error::Ahead`].
    pub async fn open(database: &Database) -> Result<Self, Error> {
        Ok(Self(Store::open(database).await?))
    }

    /// Ends the use of a database that it opened.
    pub async fn close(&self) {
        self.0.close().await;
    }

    /// Lets somebody in; whether they still waited.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn approve(&self, id: AccountId) -> Result<bool, Error> {
        let waited = self.0.approve(id).await?;
        if waited {
            tracing::info!(account = id.to_hex(), "account let in");
        }
        Ok(waited)
    }

    /// Lets those in who have waited longest, at most 200; how many that were.
    ///
    /// # Errors
    /// [`Error::Database`]; some may be in then.
    pub async fn approve_next(&self, count: usize) -> Result<usize, Error> {
        let mut approved = 0;
        for account in self.waiting_list().await?.iter().take(count) {
            approved += usize::from(self.approve(account.id).await?);
        }
        Ok(approved)
    }

    /// Those who wait, longest first; at most 200.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn waiting_list(&self) -> Result<Vec<Account>, Error> {
        self.0.waiting().await
    }

    /// Those who are in, latest first; at most 200.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn approved(&self) -> Result<Vec<Account>, Error> {
        self.0.approved().await
    }

    /// The account of this mailbox.
    ///
    /// # Errors
    /// [`Error::NoSuchAccount`], [`Error::Database`].
    pub async fn account_of(&self, email: &str) -> Result<Account, Error> {
        let email = Email::parse(email).map_err(|_| Error::NoSuchAccount)?;
        let found = self.0.account_by_email(&email).await?;
        found
            .map(|(account, _)| account)
            .ok_or(Error::NoSuchAccount)
    }

    /// Makes somebody an administrator.
    ///
    /// # Errors
    /// [`Error::NoSuchAccount`], [`Error::Database`].
    pub async fn promote(&self, id: AccountId) -> Result<(), Error> {
        self.0.promote(id).await?;
        tracing::info!(account = id.to_hex(), "account is an administrator now");
        Ok(())
    }

    /// A new invitation; the one time that its code is told.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Invalid`] when there are too many, [`Error::Database`].
    pub async fn invite(&self, note: &str, uses: i64, days: i64) -> Result<Secret, Error> {
        let mut faults = Faults::default();
        let too_long = Fault("A note has at most 200 characters.");
        let note = faults.take("note", line(note, NOTE_MAX, too_long));
        let within = |value: i64, max: i64, fault: Fault| match (1..=max).contains(&value) {
            true => Ok(value),
            false => Err(fault),
        };
        let uses = within(uses, 10_000, Fault("It lets in from 1 to 10000."));
        let uses = faults.take("uses", uses);
        let days = within(
            days,
            INVITATION_DAYS_MAX,
            Fault("It is good for 1 to 365 days."),
        );
        let days = faults.take("days", days);
        let (Some(note), Some(uses), Some(days)) = (note, uses, days) else {
            return Err(Error::Form(faults));
        };
        let code = Secret::invitation()?;
        let invitation = Invitation {
            note,
            uses,
            used: 0,
            expires_at: boot::ticket::now() as i64 + days * DAY_S,
        };
        self.0.add_invitation(&code, &invitation).await?;
        Ok(code)
    }

    /// Invitations that still let somebody in, newest first; at most 200.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn invitations(&self) -> Result<Vec<Invitation>, Error> {
        self.0.invitations().await
    }

    /// How the beta does.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn beta(&self) -> Result<Beta, Error> {
        let (waiting, approved) = self.0.members().await?;
        Ok(Beta {
            waiting,
            approved,
            mail: self.0.queue().await?,
        })
    }
}
