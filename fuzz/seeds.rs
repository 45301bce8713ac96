//! Writes the inputs that fuzzing starts from: `seeds FOLDER` makes a folder in FOLDER for
//! each target.

use std::{fs, io, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use media::rtmp::{
    amf::{Member, Writer as Amf},
    chunk::{Message, Writer},
};

mod broadcast;
#[path = "seeds/words.rs"]
mod words;

fn main() -> io::Result<()> {
    let folder = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "corpus".to_owned());
    let folder = Path::new(&folder);
    write(&folder.join("rtmp"), &rtmp())?;
    write(&folder.join("flv"), &flv())?;
    write(&folder.join("wire"), &words::wire())?;
    write(&folder.join("peer"), &words::peer())?;
    write(&folder.join("tracker"), &words::tracker())
}

fn write(folder: &Path, seeds: &[Vec<u8>]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{index}")), seed)?;
    }
    Ok(())
}

/// A whole session, cut differently, and each of its messages alone.
fn rtmp() -> Vec<Vec<u8>> {
    let connect = Amf::command("connect", 1.0).object(&[("app", Member::Text("live"))]);
    let publish = Amf::command("publish", 5.0)
        .null()
        .string("key")
        .string("live");
    let messages = [
        (20, connect),
        (20, Amf::command("releaseStream", 2.0).null().string("key")),
        (20, Amf::command("createStream", 4.0).null()),
        (20, publish),
        (
            18,
            Amf::default().string("@setDataFrame").string("onMetaData"),
        ),
        (20, Amf::command("deleteStream", 6.0).null().number(1.0)),
    ];
    let mut messages: Vec<(u8, Bytes)> = messages
        .into_iter()
        .map(|(kind, amf)| (kind, amf.finish().freeze()))
        .collect();
    messages.insert(1, (1, Bytes::from_static(&[0, 0, 16, 0])));
    messages.insert(
        5,
        (9, Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 9])),
    );
    messages.insert(5, (8, Bytes::from_static(&[0xaf, 0, 0x12, 0x10])));
    messages.insert(5, (4, Bytes::from_static(&[0, 6, 0, 0, 0, 9])));
    let mut whole = BytesMut::new();
    let mut seeds = Vec::new();
    for (kind, payload) in messages {
        let message = Message {
            kind,
            stream: 1,
            timestamp: 0x00ff_fffe + u32::from(kind % 4),
            payload,
        };
        let start = whole.len();
        Writer::new().put(&mut whole, kind % 5 + 2, &message);
        seeds.push([&[0xfc], &whole[start..]].concat());
    }
    // The last bit of the mode: without a handshake before it.
    for mode in [0xfc, 0x04, 0x02] {
        seeds.push([&[mode], &whole[..]].concat());
    }
    seeds
}

fn flv() -> Vec<Vec<u8>> {
    const RECORD: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x1a\x67\x64\0\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\0\0\x03\0\x10\0\0\x03\x03\xc0\xf1\x83\x19\x60\x01\0\x06\x68\xeb\xe3\xcb\x22\xc0";
    const ENHANCED: &[u8] = b"\x91avc1\0\0\x14\0\0\0\x01\x65";
    const PICTURE: &[u8] = b"\x17\x01\0\0\x42\0\0\0\x01\x65";
    const DELTA: &[u8] = b"\x27\x01\0\0\x42\0\0\0\x02\x41\x9a";
    const AAC: &[u8] = b"\xaf\0\x12\x10";
    const SOUND: &[u8] = b"\xaf\x01\x21\x22\x23";
    let mut whole = BytesMut::new();
    put(&mut whole, 0, 0, RECORD);
    put(&mut whole, 0x8000, 0, AAC);
    for index in 0..12_u32 {
        let picture = if index % 6 == 0 { PICTURE } else { DELTA };
        put(&mut whole, 0, index * 33, picture);
        put(&mut whole, 0x8000, index * 33, SOUND);
    }
    put(&mut whole, 0x4000, 500, ENHANCED);
    let alone = [RECORD, ENHANCED, PICTURE, b"\x90hvc1", b"\x12\0"].map(|body| {
        let mut seed = BytesMut::new();
        put(&mut seed, 0, 0, body);
        seed.to_vec()
    });
    [&[whole.to_vec()][..], &alone].concat()
}

fn put(out: &mut BytesMut, flags: u16, stamp: u32, body: &[u8]) {
    out.put_u16(flags | body.len() as u16);
    out.put_u32(stamp);
    out.put_slice(body);
}
