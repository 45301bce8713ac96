//! The demo's broadcast: ffmpeg's test picture with a running clock, and a tone, pushed by
//! RTMP as any broadcaster would.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::bail;
use tokio::{process::Command, time};

use super::{file, program::Recipe};

const PICTURE: &str = "testsrc2=size=1280x720:rate=30";
const TONE: &str = "sine=frequency=330:beep_factor=2:sample_rate=48000";
/// The time of day and the time since the beginning, to see the lag by eye.
const CLOCK: &str = "drawtext=text='%{localtime\\:%X}   %{pts\\:hms}':fontsize=48:\
fontcolor=white:box=1:boxcolor=black@0.6:boxborderw=12:x=(w-tw)/2:y=h-th-40";
const PROBE_DEADLINE: Duration = Duration::from_secs(10);

/// Fails, and says what to do, when there is no ffmpeg.
pub(super) async fn look_for_ffmpeg() -> anyhow::Result<()> {
    if !runs(&["-version"]).await {
        bail!("there is no ffmpeg for the broadcast: `make setup` installs it");
    }
    Ok(())
}

/// Pushes to `url` until it is ended.
pub(super) async fn recipe(url: &str, folder: &Path) -> Recipe {
    let recipe = Recipe::new("ffmpeg", file(folder, "ffmpeg.log"))
        .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i"])
        .args([PICTURE, "-re", "-f", "lavfi", "-i", TONE]);
    let recipe = match draws_text().await {
        true => recipe.args(["-vf", CLOCK]),
        false => recipe,
    };
    // A keyframe a second keeps start-up short; B-frames as broadcasters send them.
    recipe
        .args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "2"])
        .args(["-g", "30", "-pix_fmt", "yuv420p", "-b:v", "2500k"])
        .args(["-maxrate", "2500k", "-bufsize", "2500k"])
        .args(["-c:a", "aac", "-b:a", "128k", "-f", "flv", url])
}

/// Some builds cannot draw text, and some machines have no font.
async fn draws_text() -> bool {
    let still = ["-v", "quiet", "-nostdin", "-f", "lavfi", "-i", PICTURE];
    let drawn = ["-vf", CLOCK, "-frames:v", "1", "-f", "null", "-"];
    runs(&[&still[..], &drawn].concat()).await
}

async fn runs(args: &[&str]) -> bool {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    matches!(time::timeout(PROBE_DEADLINE, ffmpeg.status()).await,
        Ok(Ok(status)) if status.success())
}
