//! A muxer of a few lines, to make streams whose every byte the test knows.

/// H.264 of 1280x720 as libx264 begins it: parameter sets, without start codes.
const SPS: &[u8] = &[
    0x67, 0x64, 0, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0, 0, 0x03, 0, 0x10, 0, 0,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

pub(crate) const VIDEO_PID: u16 = 0x100;
pub(crate) const AUDIO_PID: u16 = 0x101;
const TABLE_PID: u16 = 0x1000;
/// Ticks between two pictures, of which there are 25 a second.
pub(crate) const PICTURE_TICKS: u64 = 3600;
/// And between two sounds, of 48,000 samples a second.
pub(crate) const SOUND_TICKS: u64 = 1920;

/// Packets of 188 bytes.
#[derive(Default)]
pub(crate) struct Mux {
    pub(crate) packets: Vec<[u8; 188]>,
    counters: std::collections::BTreeMap<u16, u8>,
}

impl Mux {
    /// The tables, with the stream types of the two tracks.
    pub(crate) fn tables(&mut self, video: u8, audio: u8) {
        let [high, low] = TABLE_PID.to_be_bytes();
        self.section(0, &[0, 0, 1, 0xe0 | high, low]);
        let stream = |kind: u8, pid: u16| {
            let [high, low] = pid.to_be_bytes();
            [kind, 0xe0 | high, low, 0xf0, 0]
        };
        let mut table = vec![2, 0xe1, 0, 0xf0, 0];
        table.extend(stream(video, VIDEO_PID));
        table.extend(stream(audio, AUDIO_PID));
        self.section(TABLE_PID, &table);
    }

    /// A second of pictures, the first of them a keyframe, with sound; each starts a packet.
    pub(crate) fn second(&mut self, from_ticks: u64) {
        let mut sound = from_ticks;
        for index in 0..25 {
            let ticks = from_ticks + index * PICTURE_TICKS;
            self.picture(ticks, index == 0, 700);
            while sound < ticks + PICTURE_TICKS && sound < from_ticks + 90_000 {
                self.sound(sound, 100);
                sound += SOUND_TICKS;
            }
        }
    }

    /// A picture of so many bytes.
    pub(crate) fn picture(&mut self, ticks: u64, keyframe: bool, len: usize) {
        let mut unit = vec![0, 0, 0, 1, 9, 0xf0];
        if keyframe {
            for set in [SPS, PPS] {
                unit.extend([0, 0, 0, 1]);
                unit.extend(set);
            }
        }
        unit.extend([0, 0, 1, if keyframe { 0x65 } else { 0x41 }]);
        unit.resize(unit.len() + len, 0x5a);
        let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10];
        // Shown a picture later than decoded.
        pes.extend(stamp(3, ticks + PICTURE_TICKS));
        pes.extend(stamp(1, ticks));
        pes.extend(unit);
        self.pes(VIDEO_PID, &pes);
    }

    /// A frame of AAC of so many bytes, 48 kHz, stereo.
    pub(crate) fn sound(&mut self, ticks: u64, len: usize) {
        let frame = adts(len);
        let mut pes = vec![0, 0, 1, 0xc0];
        pes.extend(((frame.len() + 8) as u16).to_be_bytes());
        pes.extend([0x80, 0x80, 5]);
        pes.extend(stamp(2, ticks));
        pes.extend(frame);
        self.pes(AUDIO_PID, &pes);
    }

    /// A PES packet in as many packets as it takes.
    pub(crate) fn pes(&mut self, pid: u16, pes: &[u8]) {
        for (index, part) in pes.chunks(184).enumerate() {
            self.packet(pid, index == 0, part);
        }
    }

    fn section(&mut self, pid: u16, table: &[u8]) {
        let (number, content) = table.split_first().expect("as the test made it");
        let mut bytes = vec![*number, 0xb0, (content.len() + 9) as u8, 0, 1, 0xc1, 0, 0];
        bytes.extend(content);
        bytes.extend(crc(&bytes).to_be_bytes());
        bytes.insert(0, 0);
        bytes.resize(184, 0xff);
        self.packet(pid, true, &bytes);
    }

    /// A packet, filled up by an adaptation field.
    fn packet(&mut self, pid: u16, starts: bool, payload: &[u8]) {
        let counter = self.counters.entry(pid).or_default();
        let [high, low] = pid.to_be_bytes();
        let spare = 184 - payload.len();
        let control = if spare > 0 { 0x30 } else { 0x10 };
        let mut packet = vec![
            0x47,
            high | if starts { 0x40 } else { 0 },
            low,
            control | *counter,
        ];
        *counter = (*counter + 1) & 15;
        if spare > 0 {
            packet.push(spare as u8 - 1);
            packet.resize(4 + spare, 0xff);
            if spare > 1 {
                packet[5] = 0;
            }
        }
        packet.extend(payload);
        self.packets
            .push(packet.try_into().expect("188 bytes as the test made it"));
    }
}

/// A frame with its header.
pub(crate) fn adts(len: usize) -> Vec<u8> {
    let whole = len + 7;
    let mut frame = vec![
        0xff,
        0xf1,
        0x4c,
        0x80 | (whole >> 11) as u8,
        (whole >> 3) as u8,
        (whole << 5) as u8 | 0x1f,
        0xfc,
    ];
    frame.resize(whole, 0x21);
    frame
}

pub(crate) fn stamp(mark: u8, ticks: u64) -> [u8; 5] {
    let ticks = ticks & 0x1_ffff_ffff;
    let [b, c] = ((ticks >> 15 & 0x7fff) as u16 * 2 + 1).to_be_bytes();
    let [d, e] = ((ticks & 0x7fff) as u16 * 2 + 1).to_be_bytes();
    [(mark << 4) | ((ticks >> 30) as u8 * 2) | 1, b, c, d, e]
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            crc = crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    crc
}
