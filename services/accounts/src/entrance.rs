//! Logging in and what belongs to it: passwords, who is logged in where, the end of an account.
//! The one rule: an unknown e-mail and a wrong password are one answer that takes one time.

use crate::{
    Account, Accounts, Error, Login,
    email::Email,
    form::{Fault, Faults},
    letter::Purpose,
    password::Password,
    secret::{Kind, Secret, hash_of_typed},
    store::{Entrance, NewLetter},
};

impl Accounts {
    /// Whose e-mail and password these are.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::Busy`], [`Error::Database`].
    pub async fn log_in(&self, email: &str, password: &str) -> Result<Account, Error> {
        let password = Password::typed(password).ok_or(Error::WrongPassword)?;
        // What can be no address has no account, and is looked up and compared like the rest.
        let email = Email::parse(email).or_else(|_| Email::parse("nobody@mail.invalid"));
        let email = email.map_err(|_| Error::WrongPassword)?;
        let found = self.0.store.account_by_email(&email).await?;
        let (account, hash) = found.unzip();
        let right = self.0.hasher.verify(password, hash).await?;
        account.filter(|_| right).ok_or(Error::WrongPassword)
    }

    /// What a browser is logged in with from now on.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn add_login(&self, account: &Account, agent: &str) -> Result<Secret, Error> {
        let secret = Secret::generate(Kind::Login)?;
        self.0.store.add_login(account.id, &secret, agent).await?;
        tracing::info!(account = account.id.to_hex(), "logged in");
        Ok(secret)
    }

    /// Who a browser's cookie says that it is.
    pub(crate) async fn entrance(&self, cookie: &str) -> Result<Option<Entrance>, Error> {
        match hash_of_typed(Kind::Login, cookie) {
            Some(hash) => self.0.store.entrance(&hash).await,
            None => Ok(None),
        }
    }

    /// Where somebody is logged in, the latest seen first.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn logins(&self, account: &Account) -> Result<Vec<Login>, Error> {
        self.0.store.logins(account.id).await
    }

    /// Ends one of those.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn end_login(&self, account: &Account, login: i64) -> Result<(), Error> {
        self.0.store.end_login(account.id, login).await
    }

    /// Has a letter written whose link gives a new password, if the mailbox has an account;
    /// the answer does not tell.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::NoMail`], [`Error::Database`].
    pub async fn forgot(&self, email: &str) -> Result<(), Error> {
        if self.0.mail.is_none() {
            return Err(Error::NoMail);
        }
        let email = Email::parse(email);
        let email = email.map_err(|fault| Error::Form(Faults::one("email", fault)))?;
        self.0.store.write_letter(&email, &NewLetter::Reset).await?;
        self.0.letters.notify_one();
        Ok(())
    }

    /// Whether the link of a reset still gives a new password.
    ///
    /// # Errors
    /// [`Error::WrongLink`], [`Error::Database`].
    pub async fn look_at_reset(&self, link: &str) -> Result<(), Error> {
        self.look(link, Purpose::Reset).await
    }

    /// Gives the new password; whoever was logged in is no more.
    ///
    /// # Errors
    /// [`Error::WrongLink`], [`Error::Form`], [`Error::Busy`], [`Error::Database`].
    pub async fn reset(&self, link: &str, password: &str) -> Result<(), Error> {
        self.look_at_reset(link).await?;
        let hash = hash_of_typed(Kind::Link, link).ok_or(Error::WrongLink)?;
        let chosen = Password::choose(password, None);
        let chosen = chosen.map_err(|fault| Error::Form(Faults::one("password", fault)))?;
        let password_hash = self.0.hasher.hash(chosen).await?;
        let reset = self.0.store.reset_password(&hash, &password_hash).await?;
        let id = reset.ok_or(Error::WrongLink)?;
        tracing::info!(account = id.to_hex(), "password reset");
        Ok(())
    }

    /// A new password for who knows the old one; other browsers are logged out.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Busy`], [`Error::Database`].
    pub(crate) async fn change_password(
        &self,
        who: &Entrance,
        old: &str,
        new: &str,
    ) -> Result<(), Error> {
        let mut faults = Faults::default();
        let chosen = Password::choose(new, Some(&who.account.email));
        let chosen = faults.take("password", chosen);
        self.prove(&who.account, old).await?;
        let chosen = chosen.ok_or(Error::Form(faults))?;
        let hash = self.0.hasher.hash(chosen).await?;
        let store = &self.0.store;
        store
            .set_password(who.account.id, &hash, Some(who.login))
            .await?;
        tracing::info!(account = who.account.id.to_hex(), "password changed");
        Ok(())
    }

    /// Deletes the account with everything of it, for who knows the password.
    ///
    /// # Errors
    /// [`Error::Form`], [`Error::Busy`], [`Error::Database`].
    pub async fn delete_account(&self, account: &Account, password: &str) -> Result<(), Error> {
        self.prove(account, password).await?;
        self.0.store.delete_account(account).await?;
        tracing::info!(account = account.id.to_hex(), "account deleted");
        Ok(())
    }

    /// That it is the account's password.
    async fn prove(&self, account: &Account, password: &str) -> Result<(), Error> {
        let wrong = || {
            let fault = Fault("That is not your password.");
            Error::Form(Faults::one("old", fault))
        };
        let (_, hash) = self.0.store.account(account.id).await?;
        let password = Password::typed(password).ok_or_else(wrong)?;
        match self.0.hasher.verify(password, Some(hash)).await? {
            true => Ok(()),
            false => Err(wrong()),
        }
    }
}
