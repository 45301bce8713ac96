//! Every chunking, interleaving and cutting of the same messages parses the same, and
//! nothing that a stranger sends makes a parser panic.

use bytes::{BufMut, Bytes, BytesMut};
use media::{
    cmaf::Fragmenter,
    flv,
    part::Picture,
    rtmp::{
        Event, Session, amf,
        chunk::{Limits, Message, Reader, Writer},
    },
};
use proptest::{collection::vec, prelude::*};

/// Writes messages as a broadcaster may: any format that the header before allows.
struct Chunker {
    out: BytesMut,
    chunk_len: usize,
    lanes: Vec<Lane>,
    omit_repeated: bool,
    /// Messages in the order in which they were finished.
    done: Vec<Message>,
}

/// One chunk stream.
#[derive(Default)]
struct Lane {
    id: u32,
    queue: Vec<Message>,
    last: Option<Message>,
    delta: u32,
    extended: bool,
    sent: usize,
}

impl Chunker {
    fn put_chunk(&mut self, lane: usize, want: u8) {
        let chunk_len = self.chunk_len;
        let (out, lane) = (&mut self.out, &mut self.lanes[lane]);
        let Some(message) = lane.queue.first().cloned() else {
            return;
        };
        if lane.sent == 0 {
            lane.put_start(out, &message, if self.omit_repeated { 0 } else { want });
        } else {
            put_basic(out, 3, lane.id);
            if lane.extended && !self.omit_repeated {
                out.put_u32(lane.delta);
            }
        }
        let end = (lane.sent + chunk_len).min(message.payload.len());
        out.put_slice(&message.payload[lane.sent..end]);
        lane.sent = end;
        if end == message.payload.len() {
            lane.queue.remove(0);
            lane.sent = 0;
            if message.kind == 1 {
                self.chunk_len = (&message.payload[..]).get_u32_be() as usize;
            }
            self.done.push(message.clone());
            lane.last = Some(message);
        }
    }
}

impl Lane {
    fn put_start(&mut self, out: &mut BytesMut, message: &Message, want: u8) {
        let format = want.min(self.most_format(message));
        let delta = match &self.last {
            Some(last) if format > 0 => message.timestamp.wrapping_sub(last.timestamp),
            _ => message.timestamp,
        };
        put_basic(out, format, self.id);
        let extended = if format == 3 {
            self.extended
        } else {
            delta >= 0x00ff_ffff
        };
        if format < 3 {
            out.put_uint(u64::from(delta.min(0x00ff_ffff)), 3);
        }
        if format < 2 {
            out.put_uint(message.payload.len() as u64, 3);
            out.put_u8(message.kind);
        }
        if format == 0 {
            out.put_u32_le(message.stream);
        }
        if extended {
            out.put_u32(delta);
        }
        (self.delta, self.extended) = (delta, extended);
    }

    /// Without repeated timestamps, bytes of a payload must not look like one.
    fn make_unambiguous(&mut self) {
        for message in &mut self.queue {
            message.timestamp &= 0x7fff_ffff;
            message.payload = message.payload.iter().map(|byte| byte | 0x80).collect();
        }
    }

    fn most_format(&self, message: &Message) -> u8 {
        let Some(last) = &self.last else {
            return 0;
        };
        let delta = message.timestamp.wrapping_sub(last.timestamp);
        if last.stream != message.stream {
            0
        } else if last.kind != message.kind || last.payload.len() != message.payload.len() {
            1
        } else if delta != self.delta {
            2
        } else {
            3
        }
    }
}

trait GetU32 {
    fn get_u32_be(&self) -> u32;
}

impl GetU32 for &[u8] {
    fn get_u32_be(&self) -> u32 {
        u32::from_be_bytes(self[..4].try_into().expect("as the test made it"))
    }
}

fn put_basic(out: &mut BytesMut, format: u8, id: u32) {
    match id {
        2..=63 => out.put_u8(format << 6 | id as u8),
        64..=319 => {
            out.put_u8(format << 6);
            out.put_u8((id - 64) as u8);
        }
        id => {
            out.put_u8(format << 6 | 1);
            out.put_u16_le((id - 64) as u16);
        }
    }
}

fn message() -> impl Strategy<Value = Message> {
    let kind = prop_oneof![Just(8_u8), Just(9), Just(18)];
    let timestamp = prop_oneof![
        0..5000_u32,
        Just(40),
        0x00ff_fff0..0x0100_0010_u32,
        any::<u32>(),
    ];
    let payload = prop_oneof![vec(any::<u8>(), 1..400), Just(vec![7; 130])];
    (kind, 1..3_u32, timestamp, payload).prop_map(|(kind, stream, timestamp, payload)| Message {
        kind,
        stream,
        timestamp,
        payload: payload.into(),
    })
}

fn set_chunk_len(len: u32) -> Message {
    Message {
        kind: 1,
        stream: 0,
        timestamp: 0,
        payload: Bytes::copy_from_slice(&len.to_be_bytes()),
    }
}

/// Reads all messages of bytes that come in these cuts, obeying chunk sizes.
fn read(bytes: &[u8], cuts: &[usize]) -> Vec<Message> {
    let mut reader = Reader::new(Limits::BROADCASTER);
    let mut messages = Vec::new();
    for part in parts(bytes, cuts) {
        reader.receive(part);
        while let Some(message) = reader.poll().expect("as the test made it") {
            if message.kind == 1 {
                reader
                    .set_chunk_len((&message.payload[..]).get_u32_be())
                    .expect("as the test made it");
            }
            messages.push(message);
        }
    }
    assert_eq!(reader.held_len(), 0);
    messages
}

/// Cuts bytes into parts of these lengths, in turn.
fn parts<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let cut = cuts.next().copied().unwrap_or(1).min(bytes.len());
        let (part, rest) = bytes.split_at(cut);
        bytes = rest;
        (!part.is_empty()).then_some(part)
    })
}

proptest! {
    #[test]
    fn every_chunking_and_interleaving_parses_the_same(
        lanes in vec(vec(message(), 0..6), 1..4),
        ids in Just([3_u32, 70, 400]),
        chunk_lens in vec(1..300_u32, 0..3),
        turns in vec((any::<usize>(), 0..4_u8), 1..60),
        cuts in vec(1..700_usize, 1..10),
        omit_repeated: bool,
    ) {
        let mut chunker = Chunker {
            out: BytesMut::new(),
            chunk_len: 128,
            lanes: Vec::new(),
            omit_repeated,
            done: Vec::new(),
        };
        let control = chunk_lens.into_iter().map(set_chunk_len).collect();
        chunker.lanes.push(Lane { id: 2, queue: control, ..Lane::default() });
        for (id, queue) in ids.into_iter().zip(lanes) {
            chunker.lanes.push(Lane { id, queue, ..Lane::default() });
        }
        if omit_repeated {
            chunker.lanes.iter_mut().skip(1).for_each(Lane::make_unambiguous);
        }
        for (lane, want) in turns.into_iter().cycle().take(20_000) {
            if chunker.lanes.iter().all(|lane| lane.queue.is_empty()) {
                break;
            }
            let busy: Vec<usize> = (0..chunker.lanes.len())
                .filter(|lane| !chunker.lanes[*lane].queue.is_empty())
                .collect();
            chunker.put_chunk(busy[lane % busy.len()], want);
        }
        prop_assert_eq!(read(&chunker.out, &cuts), chunker.done);
    }

    #[test]
    fn every_cut_of_a_session_gives_the_same_events(cuts in vec(1..900_usize, 1..12)) {
        let bytes = session();
        prop_assert_eq!(events(&bytes, &cuts), events(&bytes, &[bytes.len()]));
    }

    #[test]
    fn no_bytes_make_a_session_panic(
        bytes in vec(any::<u8>(), 0..3000),
        after in 0..8_usize,
        cuts in vec(1..300_usize, 1..5),
    ) {
        let whole = session();
        let kept = whole.len() * after / 8;
        let mut garbled = whole[..kept].to_vec();
        garbled.extend(bytes);
        events(&garbled, &cuts);
    }

    #[test]
    fn no_bytes_make_amf_or_flv_panic(bytes in vec(any::<u8>(), 0..300), first: u8) {
        let _ = amf::read_all(&bytes);
        let codec = [0x17, 0x27, 0xaf, 0x90, 0x91][usize::from(first) % 5];
        let body = Bytes::from([&[codec, first % 3][..], &bytes].concat());
        let _ = flv::video(body.clone());
        let _ = flv::audio(body);
        let _ = media::codecs(&Bytes::from(bytes));
    }

    #[test]
    fn no_stamps_make_the_fragmenter_panic(
        inputs in vec((any::<bool>(), stamp(), any::<i32>(), any::<bool>()), 1..200),
        base in 0..u64::MAX / 8,
    ) {
        let mut fragmenter = Fragmenter::new(base);
        let record = Bytes::from_static(b"\x01\x42\x00\x1e\xff\xe1\x00\x08\x67\x42\x00\x1e\xf4\x05\x01\xec");
        if let Ok(config) = media::avc::Config::parse(record) {
            fragmenter.set_video(config);
        }
        let header = Bytes::from_static(&[0x12, 0x10]);
        fragmenter.set_audio(media::aac::Config::parse(header).unwrap());
        for (video, stamp, composition_ms, keyframe) in inputs {
            let bytes = Bytes::from_static(&[0, 0, 0, 1, 9]);
            if video {
                let picture = Picture { keyframe, composition_ms: composition_ms >> 8, bytes };
                let _ = fragmenter.video(stamp, picture);
            } else {
                fragmenter.audio(stamp, bytes);
            }
            while let Some(fragment) = fragmenter.poll() {
                prop_assert!(fragment.media.len() < 960 * 1024);
            }
        }
        fragmenter.flush();
    }
}

fn stamp() -> impl Strategy<Value = u32> {
    prop_oneof![0..2000_u32, any::<u32>(), Just(u32::MAX)]
}

/// All that a broadcaster sends, in one run.
fn session() -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_u8(3);
    out.put_bytes(0x5a, 2 * 1536);
    let mut writer = Writer::new();
    let mut put = |writer: &Writer, id, kind, stream, timestamp, payload: &[u8]| {
        let message = Message {
            kind,
            stream,
            timestamp,
            payload: Bytes::copy_from_slice(payload),
        };
        writer.put(&mut out, id, &message);
    };
    let connect = amf::Writer::command("connect", 1.0)
        .object(&[("app", amf::Member::Text("live"))])
        .finish();
    put(&writer, 3, 20, 0, 0, &connect);
    put(&writer, 2, 1, 0, 0, &60_000_u32.to_be_bytes());
    writer.set_chunk_len(60_000);
    for command in ["releaseStream", "FCPublish", "createStream"] {
        put(
            &writer,
            3,
            20,
            0,
            0,
            &amf::Writer::command(command, 2.0).null().finish(),
        );
    }
    let publish = amf::Writer::command("publish", 5.0)
        .null()
        .string("key")
        .string("live");
    put(&writer, 4, 20, 1, 0, &publish.finish());
    put(&writer, 2, 4, 0, 0, &[0, 6, 0, 0, 0, 9]);
    put(
        &writer,
        4,
        18,
        1,
        0,
        &amf::Writer::default().string("onMetaData").finish(),
    );
    for index in 0..20_u32 {
        let payload = vec![index as u8; 900];
        put(&writer, 6, 9, 1, 0x00ff_fff0 + index, &payload);
        put(&writer, 4, 8, 1, 0x00ff_fff0 + index, &payload[..20]);
    }
    put(
        &writer,
        3,
        20,
        1,
        0,
        &amf::Writer::command("deleteStream", 6.0).null().finish(),
    );
    out.to_vec()
}

/// What a session makes of bytes, up to its first error.
fn events(bytes: &[u8], cuts: &[usize]) -> Vec<Event> {
    let mut session = Session::new();
    let mut events = Vec::new();
    for part in parts(bytes, cuts) {
        session.receive(part);
        loop {
            match session.poll() {
                Ok(Some(event)) => {
                    if matches!(event, Event::PublishRequest(_)) {
                        session.accept();
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(_) => return events,
            }
        }
        session.take_output();
    }
    events
}

#[test]
fn a_whole_session_is_understood() {
    let bytes = session();
    let events = events(&bytes, &[bytes.len()]);
    let Some(Event::PublishRequest(request)) = events.first() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (request.app.as_str(), request.key.as_str()),
        ("live", "key")
    );
    assert_eq!(events.len(), 1 + 40 + 1);
    assert_eq!(events.last(), Some(&Event::Unpublish));
    let Event::Video(tag) = &events[39] else {
        panic!("{:?}", events[39]);
    };
    assert_eq!((tag.timestamp, tag.body.len()), (0x00ff_fff0 + 19, 900));
}

#[test]
fn pings_and_windows_are_answered() {
    let mut session = Session::new();
    let mut said = BytesMut::new();
    for part in parts(&self::session(), &[1000]) {
        session.receive(part);
        while let Ok(Some(event)) = session.poll() {
            if matches!(event, Event::PublishRequest(_)) {
                session.accept();
            }
        }
        said.extend(session.take_output().unwrap_or_default());
    }
    let messages = {
        let mut reader = Reader::new(Limits::STRANGER);
        reader.receive(&said[1 + 2 * 1536..]);
        let mut messages = Vec::new();
        while let Some(message) = reader.poll().unwrap() {
            if message.kind == 1 {
                reader
                    .set_chunk_len((&message.payload[..]).get_u32_be())
                    .unwrap();
            }
            messages.push(message);
        }
        messages
    };
    let has = |kind: u8, payload: &[u8]| {
        messages
            .iter()
            .any(|m| m.kind == kind && m.payload == payload)
    };
    assert!(has(4, &[0, 7, 0, 0, 0, 9]), "no pong");
    assert!(has(5, &2_500_000_u32.to_be_bytes()), "no window");
    let statuses = messages.iter().filter(|m| m.kind == 20).count();
    assert_eq!(statuses, 5, "connect, three results, a status");
}
