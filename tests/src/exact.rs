//! Whether what a viewer wrote is what the broadcaster sent: packet by packet, byte for byte
//! and stamp for stamp, from a keyframe to the very last one.

use std::{collections::BTreeMap, ops::Range, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

/// How far a stamp may be off; FLV counts milliseconds.
const NEAR_S: f64 = 0.002;
/// How much later than the first picture the first sound may begin.
const SOUND_S: f64 = 0.1;

/// The packets of a file.
#[derive(Clone, Debug)]
pub struct Media {
    /// In decoding order.
    pub video: Vec<Packet>,
    /// In decoding order.
    pub audio: Vec<Packet>,
}

/// A packet as ffprobe sees it; times in seconds.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Packet {
    pub size: usize,
    pub hash: String,
    pub pts: f64,
    pub dts: f64,
    pub keyframe: bool,
}

/// What a viewer has of a broadcast: pictures by their place in it.
pub type Had = Range<usize>;

impl Media {
    /// Reads a file of any kind that ffprobe knows.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn of(path: &Path) -> Result<Self> {
        let output = Command::new("ffprobe")
            .args(["-v", "error", "-show_packets", "-show_data_hash", "md5"])
            .args(["-show_entries"])
            .arg("packet=codec_type,pts_time,dts_time,size,flags,data_hash")
            .args(["-of", "json"])
            .arg(path)
            .kill_on_drop(true)
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", path.display());
        let probed: Value = serde_json::from_slice(&output.stdout)?;
        let mut by_kind: BTreeMap<String, Vec<Packet>> = BTreeMap::new();
        for packet in probed["packets"].as_array().into_iter().flatten() {
            let kind = field(packet, "codec_type")?.to_owned();
            by_kind.entry(kind).or_default().push(Packet::read(packet)?);
        }
        let mut take = |kind| by_kind.remove(kind).unwrap_or_default();
        Ok(Self {
            video: take("video"),
            audio: take("audio"),
        })
    }

    /// Media bytes a second.
    ///
    /// # Errors
    /// When there are no pictures.
    pub fn bytes_per_s(&self) -> Result<f64> {
        let (first, last) = self
            .video
            .first()
            .zip(self.video.last())
            .context("no pictures")?;
        let bytes: usize = self
            .video
            .iter()
            .chain(&self.audio)
            .map(|one| one.size)
            .sum();
        let seconds = last.dts - first.dts;
        ensure!(seconds > 0.0, "one picture has no duration");
        // The last picture lasts as long as the others.
        let pictures = self.video.len() as f64;
        Ok(bytes as f64 / (seconds * pictures / (pictures - 1.0)))
    }
}

impl Packet {
    fn read(packet: &Value) -> Result<Self> {
        let time = |name| -> Result<f64> { Ok(field(packet, name)?.parse()?) };
        Ok(Self {
            size: field(packet, "size")?.parse()?,
            hash: field(packet, "data_hash")?.to_owned(),
            pts: time("pts_time")?,
            dts: time("dts_time")?,
            keyframe: field(packet, "flags")?.starts_with('K'),
        })
    }
}

fn field<'a>(packet: &'a Value, name: &str) -> Result<&'a str> {
    let value = packet[name].as_str();
    value.with_context(|| format!("a packet without {name}"))
}

/// Compares and answers which pictures came.
///
/// # Errors
/// The first difference.
pub fn compare(sent: &Media, came: &Media) -> Result<Had> {
    let pictures = tail(&sent.video, &came.video).context("pictures")?;
    let sounds = tail(&sent.audio, &came.audio).context("sounds")?;
    let (first, original) = came
        .video
        .first()
        .zip(pictures.first())
        .context("no pictures came")?;
    ensure!(first.keyframe, "it does not begin with a keyframe");
    let offset = first.dts - original.dts;
    same(pictures, &came.video, offset).context("pictures")?;
    same(sounds, &came.audio, offset).context("sounds")?;
    ensure!(
        came.audio.is_empty() == sent.audio.is_empty(),
        "no sound came"
    );
    if let Some(sound) = came.audio.first() {
        let late = sound.pts - first.pts;
        // A broadcaster's own first sound may come later.
        let whole = sounds.len() == sent.audio.len();
        ensure!(whole || late <= SOUND_S, "sound begins {late:.3} s late");
    }
    Ok(sent.video.len() - pictures.len()..sent.video.len())
}

/// Whether all that came was sent, in this order; some may be missing.
///
/// # Errors
/// The first packet that was not.
pub fn only(sent: &Media, came: &Media) -> Result<()> {
    ensure!(
        !came.video.is_empty() && !came.audio.is_empty(),
        "nothing came"
    );
    among(&sent.video, &came.video).context("pictures")?;
    among(&sent.audio, &came.audio).context("sounds")
}

fn among(sent: &[Packet], came: &[Packet]) -> Result<()> {
    let mut left = sent.iter();
    for (index, packet) in came.iter().enumerate() {
        let found = left.any(|sent| sent.size == packet.size && sent.hash == packet.hash);
        ensure!(found, "packet {index} is nobody's: {packet:?}");
    }
    Ok(())
}

/// The packets sent last, as many as came.
fn tail<'a>(sent: &'a [Packet], came: &[Packet]) -> Result<&'a [Packet]> {
    match sent.len().checked_sub(came.len()) {
        Some(missed) => Ok(&sent[missed..]),
        None => bail!("{} were sent, {} came", sent.len(), came.len()),
    }
}

fn same(sent: &[Packet], came: &[Packet], offset: f64) -> Result<()> {
    for (index, (sent, came)) in sent.iter().zip(came).enumerate() {
        let equal = sent.size == came.size && sent.hash == came.hash;
        ensure!(equal, "packet {index} differs: {sent:?} {came:?}");
        let near = |a: f64, b: f64| (a + offset - b).abs() <= NEAR_S;
        let in_time = near(sent.pts, came.pts) && near(sent.dts, came.dts);
        ensure!(
            in_time,
            "packet {index} is {offset} and more off: {sent:?} {came:?}"
        );
    }
    Ok(())
}

/// Fails on whatever ffmpeg warns of when it decodes all of a file.
///
/// # Errors
/// What ffmpeg said.
pub async fn decodes(path: &Path) -> Result<()> {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-nostdin", "-xerror", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .kill_on_drop(true)
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broadcast::{Clip, Content};

    /// A broadcast, and the same again.
    async fn pair() -> Result<(tempfile::TempDir, Media, Media)> {
        let folder = tempfile::tempdir()?;
        let clip = Clip::encode(folder.path(), Content::new(5)).await?;
        let out = folder.path().join("out.flv");
        let remuxed = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(&clip.path)
            .args(["-c", "copy", "-output_ts_offset", "7"])
            .arg(&out)
            .status();
        ensure!(remuxed.await?.success());
        decodes(&out).await?;
        let (sent, came) = (Media::of(&clip.path).await?, Media::of(&out).await?);
        Ok((folder, sent, came))
    }

    #[tokio::test]
    async fn what_is_the_same_passes_and_damage_does_not() -> Result<()> {
        let (_folder, sent, came) = pair().await?;
        assert_eq!(compare(&sent, &came)?, 0..150);
        let rate = sent.bytes_per_s()? * 8.0;
        assert!((2.5e6..3.6e6).contains(&rate), "{rate}");

        let refused = |what: &str, damage: &dyn Fn(&mut Media)| {
            let mut damaged = came.clone();
            damage(&mut damaged);
            let compared = compare(&sent, &damaged);
            assert!(compared.is_err(), "{what} went unnoticed: {compared:?}");
        };
        refused("another byte", &|media| media.video[40].hash.push('0'));
        refused("another sound", &|media| media.audio[40].hash.push('0'));
        refused("a picture dropped", &|media| drop(media.video.remove(40)));
        refused("a sound dropped", &|media| drop(media.audio.remove(40)));
        refused("a picture twice", &|media| {
            media.video.insert(40, media.video[40].clone());
        });
        refused("no last picture", &|media| drop(media.video.pop()));
        refused("no last sound", &|media| drop(media.audio.pop()));
        refused("no sound", &|media| media.audio.truncate(0));
        refused("no keyframe first", &|media| drop(media.video.remove(0)));
        refused("sound 3 ms late", &|media| {
            for sound in &mut media.audio {
                (sound.pts, sound.dts) = (sound.pts + 0.003, sound.dts + 0.003);
            }
        });
        refused("a picture shown late", &|media| {
            media.video[40].pts += 0.003
        });
        Ok(())
    }

    #[tokio::test]
    async fn who_joins_later_has_the_rest_from_a_keyframe() -> Result<()> {
        let (_folder, sent, mut came) = pair().await?;
        came.video.drain(..60);
        let first = came.video[0].pts;
        came.audio.retain(|sound| sound.pts >= first - 0.02);
        assert_eq!(compare(&sent, &came)?, 60..150);
        came.audio.drain(..10);
        assert!(compare(&sent, &came).is_err(), "sound begins too late");
        Ok(())
    }

    #[tokio::test]
    async fn what_has_a_gap_passes_as_part_and_what_is_false_does_not() -> Result<()> {
        let (_folder, sent, came) = pair().await?;
        only(&sent, &came)?;
        let damaged = |damage: &dyn Fn(&mut Media)| {
            let mut damaged = came.clone();
            damage(&mut damaged);
            only(&sent, &damaged)
        };
        damaged(&|media| drop(media.video.drain(40..90)))?;
        let refused = |what: &str, damage| assert!(damaged(damage).is_err(), "{what}");
        refused("another byte", &|media| media.video[40].hash.push('0'));
        refused("a picture twice", &|media| {
            media.video.insert(40, media.video[40].clone());
        });
        refused("pictures in another order", &|media| {
            media.video.swap(40, 41)
        });
        refused("nothing", &|media| media.video.clear());
        Ok(())
    }

    #[tokio::test]
    async fn a_damaged_file_does_not_pass_as_one_that_decodes() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let clip = Clip::encode(folder.path(), Content::new(2)).await?;
        decodes(&clip.path).await?;
        let mut bytes = std::fs::read(&clip.path)?;
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20_000].fill(0x55);
        std::fs::write(&clip.path, bytes)?;
        assert!(decodes(&clip.path).await.is_err());
        Ok(())
    }
}
