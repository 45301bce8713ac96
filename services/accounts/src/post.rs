//! Sends the letters that are due. Hosted by the program beside the servers; any number of
//! processes may, each letter is sent by one of them. The one rule: a letter is sent until a
//! mail server took it, and it may come twice rather than never.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Accounts, Error,
    mail::{Failure, Mail},
    secret::{Kind, Secret},
    store::Due,
};

/// How often letters are looked for that another process wrote, or that are due again.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long letters that are on their way hold the end of the process up.
const LEAVE_DEADLINE: Duration = Duration::from_secs(3);
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// After the first failure; then twice as long each time, to the longest.
const BACK_OFF_S: i64 = 5;
const BACK_OFF_MAX_S: i64 = 1800;
/// What nobody took for two days was asked for by somebody who has asked again since.
const TRY_FOR_S: i64 = 2 * 24 * 3600;

/// Sends letters until `shutdown`. Without mail in the configuration there are none.
///
/// # Errors
/// None; it ends when it is told to.
pub async fn deliver(accounts: Accounts, shutdown: CancellationToken) -> Result<(), Error> {
    let Some(mail) = accounts.0.mail.clone() else {
        shutdown.cancelled().await;
        return Ok(());
    };
    let mut swept = None::<tokio::time::Instant>;
    loop {
        if swept.is_none_or(|at| at.elapsed() >= SWEEP_EVERY)
            && accounts.0.store.sweep().await.is_ok()
        {
            swept = Some(tokio::time::Instant::now());
        }
        let sending = send_what_is_due(&accounts, &mail);
        tokio::pin!(sending);
        let again_at_once = tokio::select! {
            again = &mut sending => again,
            () = shutdown.cancelled() => {
                // What is not away by then is taken up by whoever sends next.
                let _ = timeout(LEAVE_DEADLINE, sending).await;
                return Ok(());
            }
        };
        let pause = async {
            if !again_at_once {
                tokio::select! {
                    () = sleep(LOOK_EVERY) => {}
                    () = accounts.0.letters.notified() => {}
                }
            }
        };
        tokio::select! {
            () = pause => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        if shutdown.is_cancelled() {
            return Ok(());
        }
    }
}

/// Whether there may be more.
async fn send_what_is_due(accounts: &Accounts, mail: &Mail) -> bool {
    // That the database is away, others say; here it means that nothing is due.
    let Ok(due) = accounts.0.store.take_letters().await else {
        return false;
    };
    let sending = due.iter().map(|letter| send(accounts, mail, letter));
    futures_util::future::join_all(sending).await;
    !due.is_empty()
}

async fn send(accounts: &Accounts, mail: &Mail, letter: &Due) {
    // A letter whose outcome cannot be stored is taken again when its time is over.
    if let Err(error) = try_to_send(accounts, mail, letter).await {
        tracing::warn!(letter = letter.id, %error, "a letter waits");
    }
}

async fn try_to_send(accounts: &Accounts, mail: &Mail, letter: &Due) -> Result<(), Error> {
    let store = &accounts.0.store;
    let mut link = String::new();
    if letter.purpose.has_link() {
        let secret = Secret::generate(Kind::Link)?;
        store.add_link(letter.id, &secret).await?;
        link = secret.reveal().to_owned();
    }
    let words = letter.purpose.words(&accounts.0.site, &link);
    match mail.send(letter.id, &letter.email, words).await {
        Ok(()) => {
            tracing::info!(
                letter = letter.id,
                purpose = letter.purpose.as_str(),
                "letter sent"
            );
            store.letter_sent(letter.id).await
        }
        Err(Failure::ForNow(why)) if letter.age_s < TRY_FOR_S => {
            let again_in_s = back_off_s(letter.attempts);
            tracing::warn!(letter = letter.id, why, again_in_s, "letter not sent");
            store.letter_failed(letter.id, Some(again_in_s)).await
        }
        Err(Failure::ForNow(why) | Failure::ForGood(why)) => {
            tracing::warn!(letter = letter.id, why, "letter given up");
            store.letter_failed(letter.id, None).await
        }
    }
}

fn back_off_s(attempts: i64) -> i64 {
    let doublings = attempts.clamp(1, 20) - 1;
    (BACK_OFF_S << doublings).min(BACK_OFF_MAX_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let pauses: Vec<i64> = (1..=12).map(back_off_s).collect();
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert_eq!(pauses[11], BACK_OFF_MAX_S);
        assert_eq!(back_off_s(i64::MAX), BACK_OFF_MAX_S);
    }
}
