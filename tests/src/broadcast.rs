//! A broadcaster: real ffmpeg that pushes RTMP, and a file of exactly what it pushed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::{exact::Media, place::Place, process::Process, station::Standalone};

/// What is shown: a moving test picture of 720p30 with B-frames, and a tone.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// How long.
    pub seconds: u32,
    /// Bits a second of the picture.
    pub video_bps: u32,
}

/// Bits a second of the tone.
const AUDIO_BPS: u32 = 128_000;

impl Content {
    /// At 3 Mbit/s.
    #[must_use]
    pub fn new(seconds: u32) -> Self {
        let video_bps = 3_000_000;
        Self { seconds, video_bps }
    }

    /// With a picture such that all together has this rate.
    #[must_use]
    pub fn of_rate(self, bps: u32) -> Self {
        let video_bps = bps.saturating_sub(AUDIO_BPS);
        Self { video_bps, ..self }
    }

    fn ffmpeg(self, place: &Place, pace: &[&str]) -> Command {
        let mut command = ffmpeg(place);
        for source in [
            "testsrc2=size=1280x720:rate=30",
            "sine=frequency=440:sample_rate=48000",
        ] {
            command.args(pace).args(["-f", "lavfi", "-i", source]);
        }
        let video = self.video_bps.to_string();
        command
            .args(["-t", &self.seconds.to_string()])
            .args(["-map", "0:v", "-map", "1:a", "-flags", "+global_header"])
            .args(["-pix_fmt", "yuv420p", "-c:v", "libx264"])
            .args(["-preset", "ultrafast", "-bf", "2", "-g", "60"])
            .args(["-b:v", &video, "-maxrate", &video, "-bufsize", &video])
            .args(["-c:a", "aac", "-b:a", &AUDIO_BPS.to_string(), "-ac", "2"]);
        command
    }
}

/// A broadcast that was encoded beforehand, so that encoding takes nothing from what is
/// measured and the rate is known.
pub struct Clip {
    /// As FLV.
    pub path: PathBuf,
    /// Its packets.
    pub media: Media,
    /// Media bits a second.
    pub bps: f64,
    seconds: u32,
}

impl Clip {
    /// Encodes into the folder, as fast as it goes.
    ///
    /// # Errors
    /// What ffmpeg says.
    pub async fn encode(folder: &Path, content: Content) -> Result<Self> {
        let path = folder.join("clip.flv");
        let mut command = content.ffmpeg(&Place::Here, &[]);
        let made = command.args(["-f", "flv"]).arg(&path).output().await?;
        let said = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "ffmpeg: {said}");
        let media = Media::of(&path).await?;
        Ok(Self {
            path,
            bps: media.bytes_per_s()? * 8.0,
            seconds: content.seconds,
            media,
        })
    }
}

/// On air, until its time is over.
pub struct Broadcast {
    /// What was sent, as FLV; whole when the broadcast has ended.
    pub sent: PathBuf,
    /// ffmpeg.
    pub process: Process,
    seconds: u32,
}

impl Broadcast {
    /// Encodes in real time; a tee gives the same packets to the station and to the file.
    ///
    /// # Errors
    /// When ffmpeg cannot be started.
    pub fn push(station: &Standalone, content: Content) -> Result<Self> {
        let sent = station.file("sent.flv");
        let url = &station.ready.publish_rtmp;
        let tee = format!("[f=flv]{url}|[f=flv]{}", sent.display());
        let mut command = content.ffmpeg(&station.place, &["-re"]);
        command.args(["-f", "tee", &tee]);
        Self::start(station, command, sent, content.seconds)
    }

    /// Pushes a clip in real time as it is.
    ///
    /// # Errors
    /// When ffmpeg cannot be started.
    pub fn replay(station: &Standalone, clip: &Clip) -> Result<Self> {
        let mut command = ffmpeg(&station.place);
        command.args(["-re", "-i"]).arg(&clip.path).args([
            "-c",
            "copy",
            "-f",
            "flv",
            &station.ready.publish_rtmp,
        ]);
        Self::start(station, command, clip.path.clone(), clip.seconds)
    }

    /// Pushes a clip in real time, over and over without a seam, until it is dropped.
    ///
    /// # Errors
    /// When ffmpeg cannot be started.
    pub fn repeat(station: &Standalone, clip: &Clip) -> Result<Self> {
        let mut command = ffmpeg(&station.place);
        command
            .args(["-re", "-stream_loop", "-1", "-i"])
            .arg(&clip.path)
            .args(["-c", "copy", "-f", "flv", &station.ready.publish_rtmp]);
        Self::start(station, command, clip.path.clone(), clip.seconds)
    }

    /// Encodes in real time with a stream key of choice and keeps nothing, so that ffmpeg
    /// ends with what the station answers.
    ///
    /// # Errors
    /// When ffmpeg cannot be started.
    pub fn try_key(station: &Standalone, key: &str, content: Content) -> Result<Self> {
        let url = &station.ready.publish_rtmp;
        let url = url.replace(&station.ready.stream_key, key);
        let mut command = content.ffmpeg(&station.place, &["-re"]);
        command.args(["-f", "flv", &url]);
        let process = Process::start(station.folder(), "ffmpeg-tries", &mut command)?;
        Ok(Self {
            sent: station.file("none.flv"),
            process,
            seconds: content.seconds,
        })
    }

    fn start(
        station: &Standalone,
        mut command: Command,
        sent: PathBuf,
        seconds: u32,
    ) -> Result<Self> {
        let process = Process::start(station.folder(), "ffmpeg", &mut command)?;
        Ok(Self {
            sent,
            process,
            seconds,
        })
    }

    /// Waits for its end, which is as far away as the content is long.
    ///
    /// # Errors
    /// When ffmpeg fails or hangs.
    pub async fn ends(&mut self) -> Result<()> {
        let within = Duration::from_secs(u64::from(self.seconds) + 15);
        let code = self.process.wait(within).await?;
        ensure!(
            code == 0,
            "ffmpeg ended with {code}: {}",
            self.process.said()
        );
        Ok(())
    }
}

fn ffmpeg(place: &Place) -> Command {
    let mut command = place.command("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]);
    command
}
