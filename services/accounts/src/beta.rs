//! The beta: signing up and waiting; being let in is the operator's. The one rule: whoever signs up is answered the
//! same, in the same time, whether or not the mailbox has an account; the mail tells which.

use crate::{
    Account, AccountId, Accounts, Error, Operator,
    email::Email,
    form::{Fault, Faults},
    letter::Purpose,
    password::Password,
    secret::{Kind, hash_of_invitation, hash_of_typed},
    store::NewLetter,
};

/// What somebody types who signs up.
pub struct SignUp<'a> {
    /// Where the mail goes.
    pub email: &'a str,
    /// The password of the account to be.
    pub password: &'a str,
    /// A code, or nothing.
    pub invitation: &'a str,
}

impl Accounts {
    /// Has a letter written whose link makes the account, or which says that there is one.
    ///
    /// # Errors
    /// [`Error::Form`] with what is wrong in which field, [`Error::NoMail`], [`Error::Busy`],
    /// [`Error::Database`].
    pub async fn sign_up(&self, typed: SignUp<'_>) -> Result<(), Error> {
        if self.0.mail.is_none() {
            return Err(Error::NoMail);
        }
        let mut faults = Faults::default();
        let email = faults.take("email", Email::parse(typed.email));
        let password = Password::choose(typed.password, email.as_ref());
        let password = faults.take("password", password);
        let invitation = faults.take("invitation", self.find_invitation(typed.invitation).await?);
        let (Some(email), Some(password), Some(invitation)) = (email, password, invitation) else {
            return Err(Error::Form(faults));
        };
        let password_hash = self.0.hasher.hash(password).await?;
        let letter = NewLetter::Confirm {
            password_hash,
            invitation,
        };
        self.0.store.write_letter(&email, &letter).await?;
        self.0.letters.notify_one();
        Ok(())
    }

    async fn find_invitation(&self, typed: &str) -> Result<Result<Option<i64>, Fault>, Error> {
        if typed.trim().is_empty() {
            return Ok(Ok(None));
        }
        let found = match hash_of_invitation(typed.trim()) {
            Some(hash) => self.0.store.invitation(&hash).await?,
            None => None,
        };
        let unknown =
            Fault("This invitation is not known, or is used up. Without one you wait in line.");
        Ok(found.map(Some).ok_or(unknown))
    }

    /// Whether the link of a sign-up still makes its account.
    ///
    /// # Errors
    /// [`Error::WrongLink`], [`Error::Database`].
    pub async fn look_at_sign_up(&self, link: &str) -> Result<(), Error> {
        self.look(link, Purpose::Confirm).await
    }

    pub(crate) async fn look(&self, link: &str, purpose: Purpose) -> Result<(), Error> {
        let hash = hash_of_typed(Kind::Link, link).ok_or(Error::WrongLink)?;
        match self.0.store.link_is_good(&hash, purpose).await? {
            true => Ok(()),
            false => Err(Error::WrongLink),
        }
    }

    /// Makes the account. It takes the password too: who signs somebody else's mailbox up must
    /// not get an account that its owner confirms without a thought.
    ///
    /// # Errors
    /// [`Error::WrongLink`], [`Error::Form`] when the password is not that of the sign-up,
    /// [`Error::Busy`], [`Error::Database`].
    pub async fn confirm(&self, link: &str, password: &str) -> Result<Account, Error> {
        let hash = hash_of_typed(Kind::Link, link).ok_or(Error::WrongLink)?;
        let promised = self.0.store.promised_password(&hash).await?;
        let promised = promised.ok_or(Error::WrongLink)?;
        let wrong = || {
            let fault = Fault("That is not the password you signed up with.");
            Error::Form(Faults::one("password", fault))
        };
        let password = Password::typed(password).ok_or_else(wrong)?;
        if !self.0.hasher.verify(password, Some(promised)).await? {
            return Err(wrong());
        }
        let id = self.0.store.confirm(&hash).await?.ok_or(Error::WrongLink)?;
        let (account, _) = self.0.store.account(id).await?;
        tracing::info!(
            account = id.to_hex(),
            invited = account.is_approved(),
            "account made"
        );
        Ok(account)
    }

    /// Its place on the waiting list, from 1; none when it is in.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn position(&self, account: &Account) -> Result<Option<i64>, Error> {
        match account.is_approved() {
            true => Ok(None),
            false => Ok(Some(self.0.store.position(account).await?)),
        }
    }

    /// What the operator does.
    #[must_use]
    pub fn operator(&self) -> Operator {
        Operator::new(self.0.store.clone())
    }

    /// An account by its id.
    ///
    /// # Errors
    /// [`Error::NoSuchAccount`], [`Error::Database`].
    pub async fn account(&self, id: AccountId) -> Result<Account, Error> {
        Ok(self.0.store.account(id).await?.0)
    }
}
