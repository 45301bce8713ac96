//! The functions that JavaScript calls. Numbers name objects; 0 is none. Bytes pass through
//! buffers: [`take`] one, write it at [`address`], which holds until the next call that
//! makes an object, and [`forget`] it.

#![expect(
    unsafe_code,
    reason = "exporting a function by its name counts as unsafe; nothing else here is"
)]

use std::cell::RefCell;

use crate::objects::Objects;

thread_local! {
    static OBJECTS: RefCell<Objects> = RefCell::default();
}

fn with<T>(call: impl FnOnce(&mut Objects) -> T) -> T {
    OBJECTS.with_borrow_mut(call)
}

/// A buffer of so many bytes, at most [`crate::MAX_BUFFER_LEN`].
#[unsafe(no_mangle)]
pub extern "C" fn take(len: u32) -> u32 {
    with(|objects| objects.take(len as usize))
}

/// Where a buffer's bytes are in the memory.
#[unsafe(no_mangle)]
pub extern "C" fn address(buffer: u32) -> *const u8 {
    with(|objects| objects.buffer(buffer).as_ptr())
}

/// How many they are.
#[unsafe(no_mangle)]
pub extern "C" fn length(buffer: u32) -> u32 {
    with(|objects| objects.buffer(buffer).len() as u32)
}

/// Frees an object of any kind.
#[unsafe(no_mangle)]
pub extern "C" fn forget(object: u32) {
    with(|objects| objects.forget(object));
}

/// Codes and signs a body with an epoch's 32 secret bytes. A buffer of the header's length
/// (u32, big endian), the header, and the pieces, equally long, in stripe order.
#[unsafe(no_mangle)]
pub extern "C" fn seal(secret: u32, channel: u32, body: u32, epoch: u64, sequence: u64) -> u32 {
    with(|objects| objects.seal(secret, channel, body, epoch, sequence))
}

/// An epoch, from a channel's 16 bytes, its key and a certificate of that key's.
#[unsafe(no_mangle)]
pub extern "C" fn epoch(channel: u32, channel_key: u32, certificate: u32) -> u32 {
    with(|objects| objects.epoch(channel, channel_key, certificate))
}

/// A generation, from a header that the epoch's key signed.
#[unsafe(no_mangle)]
pub extern "C" fn generation(epoch: u32, header: u32) -> u32 {
    with(|objects| objects.generation(epoch, header))
}

/// Adds a piece to a generation: 1, or 0 if the header does not list it for this stripe.
#[unsafe(no_mangle)]
pub extern "C" fn piece(generation: u32, stripe: u32, piece: u32) -> u32 {
    with(|objects| u32::from(objects.piece(generation, stripe, piece)))
}

/// A buffer of the body, once k pieces are there.
#[unsafe(no_mangle)]
pub extern "C" fn decode(generation: u32) -> u32 {
    with(|objects| objects.decode(generation))
}
