//! ffmpeg, pushing a test picture and a tone.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use anyhow::Result;

use crate::station::Station;

/// Pushes until it is dropped.
pub(crate) struct Broadcaster(Child);

impl Broadcaster {
    pub(crate) fn by_rtmp(station: &Station) -> Result<Self> {
        let url = format!(
            "rtmp://{}/live/{}",
            station.address("ingest", "rtmp"),
            station.key
        );
        Self::push(station, "flv", &url)
    }

    pub(crate) fn by_srt(station: &Station) -> Result<Self> {
        let (address, key) = (station.address("ingest", "srt"), &station.key);
        let url = format!("srt://{address}?streamid=publish:{key}");
        Self::push(station, "mpegts", &url)
    }

    fn push(station: &Station, format: &str, url: &str) -> Result<Self> {
        let said = File::create(station.folder().join("ffmpeg.txt"))?;
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-re"])
            .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"])
            .args([
                "-re",
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=48000",
            ])
            .args(["-t", "180", "-pix_fmt", "yuv420p", "-c:v", "libx264"])
            .args(["-preset", "ultrafast", "-g", "25", "-b:v", "300k"])
            .args(["-c:a", "aac", "-b:a", "64k", "-f", format, url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()?;
        Ok(Self(child))
    }

    /// Whether it is still at it, on its first connection.
    pub(crate) fn pushes(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Broadcaster {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
