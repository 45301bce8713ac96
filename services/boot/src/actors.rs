//! A thread for actors. An actix actor cannot start in a plain tokio task; services whose
//! entities are actors start them here (`Actor::start_in_arbiter`) and talk to them by
//! address from wherever they are. Rule: actors hold state and take decisions, they never
//! block this thread.

use std::sync::{OnceLock, mpsc};

use actix::{ArbiterHandle, System};

static ARBITER: OnceLock<Option<ArbiterHandle>> = OnceLock::new();

/// The actors could not be given a thread.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the thread for actors")]
pub struct Error;

/// The process's arbiter for actors, started with the first call.
///
/// # Errors
/// When the operating system gives no thread.
pub fn arbiter() -> Result<ArbiterHandle, Error> {
    ARBITER.get_or_init(start).clone().ok_or(Error)
}

fn start() -> Option<ArbiterHandle> {
    let (handle, started) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("actors".into())
        .spawn(move || {
            let system = System::new();
            // Fails only when the caller is gone, and then nobody needs the arbiter.
            let _ = handle.send(
                system
                    .runtime()
                    .block_on(async { System::current().arbiter().clone() }),
            );
            system.run()
        })
        .ok()?;
    started.recv().ok()
}

#[cfg(test)]
mod tests {
    use actix::prelude::*;

    struct Adder(u32);

    impl Actor for Adder {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Add(u32);

    impl Handler<Add> for Adder {
        type Result = u32;

        fn handle(&mut self, Add(more): Add, _: &mut Context<Self>) -> u32 {
            self.0 += more;
            self.0
        }
    }

    #[tokio::test]
    async fn actors_start_and_answer_from_a_plain_tokio_task() -> anyhow::Result<()> {
        let arbiter = super::arbiter()?;
        let adder = Adder::start_in_arbiter(&arbiter, |_| Adder(1));
        assert_eq!(adder.send(Add(2)).await?, 3);
        let again = super::arbiter()?;
        assert_eq!(
            Adder::start_in_arbiter(&again, |_| Adder(5))
                .send(Add(1))
                .await?,
            6
        );
        Ok(())
    }
}
