//! Refusals in the codes that SRT has for them, which callers show to people.

use crate::refusal::Refusal;

/// Reasons of the protocol's own (draft-sharabayko-srt-01, table 7): no wrong word was said, or
/// none was said at all where one is wanted.
const ROGUE: u32 = 4;
const BAD_SECRET: u32 = 10;
const UNSECURE: u32 = 11;
/// And those for access control, SRT_REJX_* in libsrt's `access_control.h`: HTTP's, from 1000 on.
const BAD_REQUEST: u32 = 1400;
const UNAUTHORIZED: u32 = 1401;
pub(super) const OVERLOAD: u32 = 1402;
const CONFLICT: u32 = 1409;
const DOWN: u32 = 1503;

/// The reason that a caller is told.
pub(super) fn reason(refusal: &Refusal) -> u32 {
    match refusal {
        Refusal::StreamId => BAD_REQUEST,
        Refusal::WrongKey(_) => UNAUTHORIZED,
        Refusal::TooManyKeys | Refusal::Full => OVERLOAD,
        Refusal::AlreadyLive => CONFLICT,
        Refusal::Away(_) | Refusal::Stopping => DOWN,
        Refusal::WrongPassphrase => BAD_SECRET,
        Refusal::Encryption => UNSECURE,
        // Of these none can come before a caller is accepted.
        Refusal::Codec(_)
        | Refusal::TransportStream(_)
        | Refusal::Stream(_)
        | Refusal::Idle
        | Refusal::Revoked
        | Refusal::Protocol(_)
        | Refusal::Lost => ROGUE,
    }
}
