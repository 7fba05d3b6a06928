//! How loud tracks and albums are, measured once by EBU R128 and kept on the builds volume for every profile.
//!
//! An album is a folder's tracks. Its loudness is no mean of theirs, so all of them are measured together, by as many
//! threads as there are processors; whoever needs the same album meanwhile waits for it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use contract::raw::Raw;
use ebur128::{Channel, EbuR128, Mode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::header::Header;
use crate::names::encode as encoded;
use crate::trim::Trim;
use crate::{encoder, header, regular};

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Loudness {
    /// Integrated loudness in LUFS; none for silence, which has none.
    pub(crate) lufs: Option<f64>,
    /// The highest sample, 1 being full scale.
    pub(crate) peak: f64,
}

/// A part of an album: a source in its folder, or a range of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The source's name.
    pub(crate) source: OsString,
    /// The range of it; none for all.
    pub(crate) trim: Option<Trim>,
    /// How its samples are written, if it has no header.
    pub(crate) raw: Option<Raw>,
}

impl Part {
    /// `SOURCE`, or `START:END/SOURCE`, or `START:END/RAW/SOURCE`, of which the range may be empty: no name holds a slash.
    pub(crate) fn to_text(&self) -> OsString {
        let mut text = self.trim.map(|trim| trim.to_string()).unwrap_or_default();
        if let Some(raw) = self.raw {
            text += &format!("/{raw}");
        }
        if !text.is_empty() {
            text.push('/');
        }
        let mut text = OsString::from(text);
        text.push(&self.source);
        text
    }

    /// Reads what [`Part::to_text`] wrote.
    ///
    /// # Errors
    /// What stands before a slash is no range, or says nothing of samples.
    pub(crate) fn from_text(text: &OsStr) -> Result<Part> {
        let parts: Vec<_> = text.as_bytes().split(|byte| *byte == b'/').collect();
        let (source, before) = parts.split_last().context("no part")?;
        let word = |index: usize| before.get(index).filter(|word| !word.is_empty());
        let trim = word(0).map(|trim| std::str::from_utf8(trim)?.parse());
        let raw = word(1).map(|raw| std::str::from_utf8(raw)?.parse().map_err(Error::msg));
        Ok(Part {
            source: OsStr::from_bytes(source).to_owned(),
            trim: trim.transpose()?,
            raw: raw.transpose()?,
        })
    }
}

/// A folder's tracks, measured: the file that is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Album {
    /// The folder's path below the collection, encoded: who finds this file later can tell whether it is still needed.
    folder: String,
    /// A digest of all that was measured.
    of: String,
    /// The whole album; none if no track could be measured.
    pub(crate) whole: Option<Loudness>,
    /// Each track, in the order in which they were given; or why it could not be measured.
    pub(crate) tracks: Vec<Result<Loudness, String>>,
}

/// Measures a track of a folder.
///
/// # Errors
/// It cannot be decoded.
pub(crate) fn of_track(folder: &Path, track: &Part) -> Result<Loudness> {
    of_meters([&measure(folder, track)?])
}

/// Measures the parts of a folder's album, unless `kept` (a folder on the builds volume) already knows them.
///
/// # Errors
/// The result cannot be kept.
pub(crate) fn of_album(kept: &Path, collection: &Path, folder: &Path, parts: &[Part]) -> Result<Album> {
    let place = collection.join(folder);
    let of = digest(&place, parts);
    let path = kept.join(file_name(folder));
    let keeping = || format!("keeping the loudness of {}", folder.display());
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(keeping)?;
    file.lock().with_context(keeping)?;
    // A file that was cut off is no album, and is written again.
    if let Ok(album) = serde_json::from_reader::<_, Album>(&mut file)
        && album.of == of
    {
        return Ok(album);
    }
    let meters = side_by_side(parts, |part| measure(&place, part));
    let measured = meters.iter().flatten();
    let whole = (measured.clone().count() > 0)
        .then(|| of_meters(measured))
        .transpose()?;
    let track = |meter: &Result<EbuR128>| match meter {
        Ok(meter) => of_meters([meter]).map_err(|error| error.to_string()),
        Err(error) => Err(format!("{error:#}")),
    };
    let album = Album {
        folder: encoded(folder),
        of,
        whole,
        tracks: meters.iter().map(track).collect(),
    };
    file.set_len(0).with_context(keeping)?;
    file.rewind().with_context(keeping)?;
    serde_json::to_writer(&file, &album).with_context(keeping)?;
    Ok(album)
}

/// Forgets what is kept of folders that are gone.
///
/// # Errors
/// What is kept cannot be listed or removed.
pub(crate) fn forget_gone(kept: &Path, collection: &Path) -> Result<()> {
    let forgetting = || format!("clearing {}", kept.display());
    for entry in fs::read_dir(kept).with_context(forgetting)? {
        let path = entry.with_context(forgetting)?.path();
        let text = fs::read(&path).with_context(forgetting)?;
        let folder = serde_json::from_slice::<Album>(&text)
            .ok()
            .and_then(|album| crate::names::decode(&album.folder).ok());
        if !folder.is_some_and(|folder| collection.join(folder).is_dir()) {
            fs::remove_file(&path).with_context(forgetting)?;
        }
    }
    Ok(())
}

fn file_name(folder: &Path) -> String {
    hex::encode(Sha256::digest(folder.as_os_str().as_bytes())) + ".json"
}

/// Changes when a source does. Every source is opened, so that tup sees that its bytes matter; one that cannot be opened
/// is the measurement's to tell.
fn digest(folder: &Path, parts: &[Part]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        let file = regular::open(&folder.join(&part.source)).and_then(|file| file.metadata());
        let state = file.map(|file| format!("{} {} {}", file.size(), file.ctime(), file.ctime_nsec()));
        digest.update(format!("{} {}\n", encoded(part.to_text()), state.unwrap_or_default()));
    }
    hex::encode(digest.finalize())
}

/// Does something with each part, side by side; the results are in the order of the parts.
fn side_by_side<T: Send>(parts: &[Part], action: impl Fn(&Part) -> Result<T> + Sync) -> Vec<Result<T>> {
    let next = AtomicUsize::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from).min(parts.len());
    let broke = || Err(anyhow!("the thread that measured it broke"));
    let mut results: Vec<Result<T>> = parts.iter().map(|_| broke()).collect();
    let done = thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(part) = parts.get(index) else { return mine };
                mine.push((index, action(part)));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().filter_map(|worker| worker.join().ok());
        ended.flatten().collect::<Vec<_>>()
    });
    for (index, result) in done {
        results[index] = result;
    }
    results
}

/// Decodes a part and listens.
fn measure(folder: &Path, part: &Part) -> Result<EbuR128> {
    let source = folder.join(&part.source);
    let (_, header) = header::read(&source, part.raw)?;
    let cut = part.trim.map(|trim| trim.cut(header.rate, header.frames)).transpose()?;
    let mut decoder = encoder::hear(&source, &header, cut)?;
    let words = decoder.stderr.take().map(encoder::listen);
    let stream = decoder.stdout.take().context("the decoder has no output")?;
    let heard = listen(BufReader::new(stream), &header);
    let status = decoder.wait().context("waiting for the decoder")?;
    let words = words.and_then(|words| words.join().ok()).unwrap_or_default();
    ensure!(status.success(), "it cannot be decoded: {}", words.trim());
    heard
}

/// Measures WAVE of 32-bit floating point samples.
fn listen(mut stream: impl Read, header: &Header) -> Result<EbuR128> {
    skip_to_samples(&mut stream).context("reading the decoder's WAVE")?;
    let channels = u32::from(header.channels);
    let mut meter = EbuR128::new(channels, header.rate, Mode::I | Mode::SAMPLE_PEAK | Mode::HISTOGRAM)
        .with_context(|| format!("{channels} channels of {} Hz cannot be measured", header.rate))?;
    if channels == 8 {
        // 7.1 as WAVE orders it; the library knows up to 5.1 by itself.
        meter.set_channel(6, Channel::Mp090)?;
        meter.set_channel(7, Channel::Mm090)?;
    }
    let frame = 4 * channels as usize;
    let mut bytes = vec![0; frame * 8192];
    let mut samples = Vec::new();
    loop {
        let filled = fill(&mut stream, &mut bytes)?;
        if filled == 0 {
            return Ok(meter);
        }
        samples.clear();
        samples.extend(
            bytes[..filled - filled % frame]
                .chunks_exact(4)
                .map(|sample| f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]])),
        );
        meter.add_frames_f32(&samples)?;
    }
}

/// Leaves a WAVE stream where its samples begin.
fn skip_to_samples(stream: &mut impl Read) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 12])?;
    loop {
        let mut chunk = [0; 8];
        stream.read_exact(&mut chunk)?;
        if chunk.starts_with(b"data") {
            return Ok(());
        }
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        std::io::copy(&mut stream.by_ref().take(length.into()), &mut std::io::sink())?;
    }
}

/// Fills the buffer as far as there is something.
fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// What meters say together.
fn of_meters<'a>(meters: impl IntoIterator<Item = &'a EbuR128> + Clone) -> Result<Loudness> {
    let lufs = EbuR128::loudness_global_multiple(meters.clone().into_iter())?;
    let mut peak = 0.0;
    for meter in meters {
        for channel in 0..meter.channels() {
            peak = f64::max(peak, meter.sample_peak(channel)?);
        }
    }
    if peak.is_nan() {
        bail!("it holds samples that are no numbers");
    }
    Ok(Loudness {
        lufs: lufs.is_finite().then_some(lufs),
        peak,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_breaks_leaves_every_other_track_its_own_result() {
        let part = |number: u32| Part {
            source: number.to_string().into(),
            trim: None,
            raw: None,
        };
        let parts: Vec<_> = (0..100).map(part).collect();
        let measured = side_by_side(&parts, |part| {
            assert!(part.source != "50", "it breaks here");
            Ok(part.source.clone())
        });
        assert_eq!(measured.len(), 100);
        assert!(measured[50].is_err());
        for (part, measured) in parts.iter().zip(measured) {
            // What the same thread measured before is lost, and is an error too.
            assert!(measured.is_err() || measured.is_ok_and(|source| source == part.source));
        }
    }
}
