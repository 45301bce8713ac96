//! A bad line between a caller and the listener.

use std::{net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// What the line does to packets, each way.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) delay: Duration,
    /// One in so many is lost; 0 loses none.
    pub(crate) loss_one_in: u32,
    /// Packets of media, counted from the first, that never get through.
    pub(crate) never: Range<u32>,
}

impl Line {
    pub(crate) const GOOD: Self = Self {
        delay: Duration::ZERO,
        loss_one_in: 0,
        never: 0..0,
    };
}

/// Carries one caller's packets; gone when dropped.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    _carrying: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn new(listener: SocketAddr, line: Line) -> Result<Self> {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        far.connect(listener).await?;
        let address = near.local_addr()?;
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let (mut buffer, mut back) = ([0; 2048], [0; 2048]);
            let mut caller = None;
            let mut first = None;
            let mut chance = 1_u32;
            let mut under_way = JoinSet::new();
            loop {
                let (packet, to) = tokio::select! {
                    Ok((len, from)) = near.recv_from(&mut buffer) => {
                        caller = Some(from);
                        (buffer[..len].to_vec(), None)
                    }
                    Ok(len) = far.recv(&mut back) => (back[..len].to_vec(), caller),
                    Some(_) = under_way.join_next() => continue,
                };
                // Numerical Recipes' generator: the same losses in each run.
                chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let lost = line.loss_one_in > 0 && (chance >> 8).is_multiple_of(line.loss_one_in);
                // SRT's packets of media begin with their number, below this bit.
                let number = packet.first_chunk().map(|word| u32::from_be_bytes(*word));
                let number = number.filter(|word| to.is_none() && word >> 31 == 0);
                let number = number.map(|word| word.wrapping_sub(*first.get_or_insert(word)));
                if lost || number.is_some_and(|number| line.never.contains(&number)) {
                    continue;
                }
                let (near, far) = (near.clone(), far.clone());
                let at = Instant::now() + line.delay;
                under_way.spawn(async move {
                    sleep_until(at).await;
                    let _ = match to {
                        Some(to) => near.send_to(&packet, to).await,
                        None => far.send(&packet).await,
                    };
                });
            }
        });
        Ok(Self {
            address,
            _carrying: carrying,
        })
    }
}
