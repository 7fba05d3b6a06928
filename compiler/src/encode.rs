//! `vibes-compile encode`: one track of one profile, from the source to the tagged output and its stamp.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use lofty::picture::{Picture, PictureType};
use rustix::fs::statvfs;
use sha2::{Digest, Sha256};

use crate::command::{Gain, Job};
use crate::encoder::{self, Encode};
use crate::header::Header;
use crate::layout::{Place, UNFINISHED_PREFIX};
use crate::loudness::Part;
use crate::made_from::MadeFrom;
use crate::names::{self, Naming};
use crate::refused::Refused;
use crate::resolve::Track;
use crate::source::Kind;
use crate::stamp::Stamp;
use crate::tags::Tags;
use crate::trim::Cut;
use crate::{embedded, header, loudness, picture, replay_gain, turns, write_tags};

/// Runs a job that tup started: the output appears whole, then its stamp. Returns whether the output was there already,
/// finished by a build that was cut off.
///
/// # Errors
/// A [`Refused`] or whatever went wrong; an older output stays as it was.
pub(crate) fn run(place: &Place, job: &Job) -> Result<bool> {
    let folder = place
        .folder
        .as_deref()
        .context("this folder is not in the collection")?;
    let collection = place.collection();
    let source = collection.join(folder).join(&job.source);
    let mut opened = open(&collection, &source, &job.track)?;
    let turn = turns::wait(place.layout.builds(), opened.milliseconds(&source)?);
    let outputs = place.layout.outputs(&place.profile);
    let output = match &job.output {
        Some(output) => output.clone(),
        None => Naming::Exact.of_source(folder, &job.source, &job.extension),
    };
    opened
        .warnings
        .extend(encoder::loss(&job.encoder, &job.format, &opened.header)?);
    if let Some(gain) = &job.gain {
        set_gains(place, folder, job, gain, &mut opened.tags, &mut opened.warnings)?;
    }
    let made_from = MadeFrom::new(job, &source, &opened.tags, &opened.pictures)?;
    let path = outputs.join(&output);
    let finished = made_from.is_of(&path);
    if !finished {
        check_room(&outputs)?;
        // A folder of its own is all that the encoder may write in.
        let room = tempfile::Builder::new()
            .prefix(UNFINISHED_PREFIX)
            .tempdir_in(&outputs)
            .with_context(|| format!("making a folder in {}", outputs.display()))?;
        let unfinished = room.path().join("output").with_extension(&job.extension);
        encoder::run(&Encode {
            encoder: &job.encoder,
            format: &job.format,
            program: job.program.as_deref().unwrap_or(&job.encoder),
            flags: &job.flags,
            source: &source,
            header: &opened.header,
            cut: opened.cut,
            output: &unfinished,
            serial: serial(&folder.join(&job.source)),
        })?;
        check_written(&job.encoder, &unfinished)?;
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o644))
            .context("letting everybody read the output")?;
        write_tags::write(&job.format, &unfinished, &opened.tags, &opened.pictures)?;
        made_from.note_on(&unfinished)?;
        // Another track is encoded while this one waits for the disk.
        drop(turn);
        sync(&unfinished)?;
        let parent = path.parent().context("an output needs a folder")?;
        fs::create_dir_all(parent).map_err(|error| in_the_way(parent, &error))?;
        fs::rename(&unfinished, &path).map_err(|error| in_the_way(&path, &error))?;
        sync(parent)?;
    }

    let (size, sha256) = digest(&path)?;
    let mut stamp = Stamp::new(&output, size, sha256, opened.warnings);
    stamp.about_sidecars = job.track.warnings.iter().cloned().chain(opened.about_cover).collect();
    let stamp = serde_json::to_string(&stamp).context("writing the stamp")?;
    let path = std::env::current_dir()
        .context("reading the current folder")?
        .join(names::stamp(&job.source));
    fs::write(&path, stamp + "\n").with_context(|| format!("writing stamp {}", path.display()))?;
    Ok(finished)
}

/// An encoder wrote a file; a link could lead whoever reads the release to another.
fn check_written(encoder: &str, output: &Path) -> Result<()> {
    let written = fs::symlink_metadata(output).is_ok_and(|metadata| metadata.is_file());
    if !written {
        let reason = format!("{encoder} ended well and has written no file");
        return Err(Refused::new(reason, "try the profile's flags by hand").into());
    }
    Ok(())
}

/// What is known about a track when its source has been opened.
pub(crate) struct Opened {
    header: Header,
    cut: Option<Cut>,
    /// All its tags.
    pub(crate) tags: Tags,
    /// All its pictures.
    pub(crate) pictures: Vec<Picture>,
    /// What a person should know about it.
    pub(crate) warnings: Vec<String>,
    /// Why the cover beside it is none; the same for every track that it would be the cover of.
    pub(crate) about_cover: Option<String>,
}

impl Opened {
    /// How long the track is; where the header does not say it, by the size of the file.
    fn milliseconds(&self, source: &Path) -> Result<u64> {
        const BYTES_PER_MILLISECOND: u64 = 44_100 * 4 / 1000;
        let begin = self.cut.map_or(0, |cut| cut.start);
        let end = self.cut.and_then(|cut| cut.end).or(self.header.frames);
        match end {
            Some(end) => Ok(end.saturating_sub(begin).saturating_mul(1000) / u64::from(self.header.rate.max(1))),
            None => {
                let file = fs::metadata(source).with_context(|| format!("looking at {}", source.display()))?;
                Ok(file.len() / BYTES_PER_MILLISECOND)
            }
        }
    }
}

/// Opens a track: whatever can be found wrong with it before it is encoded is found here.
///
/// # Errors
/// A [`Refused`] or whatever went wrong.
pub(crate) fn open(collection: &Path, source: &Path, track: &Track) -> Result<Opened> {
    let (kind, header) = header::read(source, track.raw)?;
    let cut = track.trim.map(|trim| trim.cut(header.rate, header.frames));
    let cut = cut.transpose()?;
    let mut warnings = Vec::new();
    let TagsAndPictures {
        tags,
        pictures,
        about_cover,
    } = tags_and_pictures(collection, source, kind, &header, track, &mut warnings)?;
    Ok(Opened {
        header,
        cut,
        tags,
        pictures,
        warnings,
        about_cover,
    })
}

/// Bytes that stay free on the builds volume: a full one would stop tup, and with it every track.
const RESERVE: u64 = 64 << 20;

/// Refuses to begin an output where there is hardly any room.
fn check_room(outputs: &Path) -> Result<()> {
    let volume = statvfs(outputs).with_context(|| format!("looking at the room of {}", outputs.display()))?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    if free < RESERVE {
        let reason = format!(
            "the builds volume is full: {} MiB are free, and {} MiB are kept for the build system",
            free >> 20,
            RESERVE >> 20
        );
        return Err(Refused::new(reason, "make it larger, or take sources or profiles away").into());
    }
    Ok(())
}

/// What goes into an output beside its samples.
struct TagsAndPictures {
    tags: Tags,
    pictures: Vec<Picture>,
    /// Why the cover beside the tracks is none.
    about_cover: Option<String>,
}

/// Sidecars before what is in the source, and that before guesses.
fn tags_and_pictures(
    collection: &Path,
    source: &Path,
    kind: Kind,
    header: &Header,
    track: &Track,
    warnings: &mut Vec<String>,
) -> Result<TagsAndPictures> {
    let brought = embedded::read(source, kind, header).unwrap_or_else(|error| {
        warnings.push(format!("the tags inside it cannot be read and are left out: {error:#}"));
        embedded::Embedded::default()
    });
    let mut tags = track.tags.clone();
    tags.fill_from(&brought.tags);
    tags.fill_from(&track.guesses);

    let (mut pictures, mut about_cover) = (Vec::new(), None);
    for file in &track.pictures {
        let mut picture = picture::read(collection, &file.path, file.kind)?;
        if !file.description.is_empty() {
            picture.set_description(Some(file.description.clone()));
        }
        pictures.push(picture);
    }
    // What sidecars say of a type is all of it.
    let given: Vec<_> = pictures.iter().map(Picture::pic_type).collect();
    let brought = brought.pictures.into_iter();
    pictures.extend(brought.filter(|brought| !given.contains(&brought.pic_type())));
    if let Some(cover) = &track.cover
        && !pictures
            .iter()
            .any(|picture| picture.pic_type() == PictureType::CoverFront)
    {
        // Nobody has named it: it may be no cover at all.
        match picture::read(collection, cover, picture::FRONT_COVER) {
            Ok(picture) => pictures.push(picture),
            Err(error) => {
                let Refused { reason, remedy } = Refused::from_error(&error, "replace it");
                about_cover = Some(format!("{reason}; it is no cover for tracks without another: {remedy}"));
            }
        }
    }
    Ok(TagsAndPictures {
        tags,
        pictures,
        about_cover,
    })
}

/// Measures the track, and its album if wished, and sets the tags of their gains. What cannot be measured has none.
fn set_gains(
    place: &Place,
    folder: &Path,
    job: &Job,
    gain: &Gain,
    tags: &mut Tags,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let collection = place.collection();
    let (track, album) = match gain {
        Gain::Track => {
            let own = Part {
                source: job.source.clone(),
                trim: job.track.trim,
                raw: job.track.raw,
            };
            let track = loudness::of_track(&collection.join(folder), &own);
            (track.map_err(|error| format!("{error:#}")), None)
        }
        Gain::Album(parts) => {
            let album = loudness::of_album(&place.layout.loudness(), &collection, folder, parts)?;
            let mut track = Err("it is not part of its album".to_owned());
            for (part, measured) in parts.iter().zip(album.tracks) {
                if part.source == job.source {
                    track = measured;
                } else if let Err(reason) = measured {
                    let source = part.source.display();
                    warnings.push(format!("the gain of its album is without {source}: {reason}"));
                }
            }
            (track, album.whole)
        }
    };
    if let Err(reason) = &track {
        warnings.push(format!("it has no gain: {reason}"));
    }
    replay_gain::set(tags, &job.format, track.ok(), album);
    Ok(())
}

/// The serial number of a track's Ogg stream: it differs between tracks, so that they can be joined to one stream.
fn serial(source: &Path) -> u32 {
    let digest = Sha256::digest(source.as_os_str().as_bytes());
    // 31 bits: the tools read a signed number.
    u32::from_be_bytes([digest[0] & 0x7F, digest[1], digest[2], digest[3]])
}

/// Size and SHA-256 of a file.
pub(crate) fn digest(path: &Path) -> Result<(u64, String)> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let (mut size, mut digest, mut buffer) = (0, Sha256::new(), vec![0; 1 << 16]);
    loop {
        let read = file.read(&mut buffer).with_context(reading)?;
        if read == 0 {
            return Ok((size, hex::encode(digest.finalize())));
        }
        size += read as u64;
        digest.update(&buffer[..read]);
    }
}

/// Returns when a file or folder is on the disk.
pub(crate) fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("writing {} to the disk", path.display()))
}

fn in_the_way(path: &Path, error: &io::Error) -> Refused {
    let reason = format!("{} cannot be made: {error}", path.display());
    let remedy = match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::AlreadyExists => {
            "rename the folder or the track: one has the name of the other's output"
        }
        io::ErrorKind::InvalidFilename => "shorten the name: with its new extension it is too long",
        _ => "see what is the matter with the builds volume",
    };
    Refused::new(reason, remedy)
}
