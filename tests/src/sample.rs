//! The sample collection: invented music in many formats under awkward names, the same bytes every time.

mod albums;
mod audio;
mod picture;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use albums::{ALBUMS, ARTISTS, Album, Cover, PLAYLIST};
use audio::{Container, Sound};

/// The sample's profiles: name and `tup.config` text, one for each encoder.
pub const PROFILES: &[(&str, &str)] = &[
    (
        "home",
        "CONFIG_ENCODER=flac\nCONFIG_FORMAT=flac\nCONFIG_FLAC_FLAGS=--best\nCONFIG_REPLAYGAIN=album\n",
    ),
    (
        "phone",
        "CONFIG_ENCODER=opusenc\nCONFIG_FORMAT=opus\nCONFIG_OPUSENC_FLAGS=--bitrate 96\n",
    ),
    (
        "car",
        "CONFIG_ENCODER=lame\nCONFIG_FORMAT=mp3\nCONFIG_LAME_FLAGS=-V 2\nCONFIG_PLAYLISTS=m3u\n",
    ),
    (
        "radio",
        "CONFIG_ENCODER=oggenc\nCONFIG_FORMAT=vorbis\nCONFIG_OGGENC_FLAGS=-q 4\n",
    ),
];

/// Writes the whole sample: 60 tracks of 2 to 4 seconds in 10 albums by 6 artists and a playlist into `sources`, and
/// [`PROFILES`] as `NAME.config` into `profiles`.
///
/// Needs the program `flac`. A directory that exists already is left as it is, so that a sample somebody edited
/// stays edited; a directory appears whole or not at all.
pub fn write(sources: &Path, profiles: &Path) -> Result<()> {
    whole(sources, |dir| {
        for (folder, tags) in ARTISTS {
            put(&dir.join(folder).join("tags.vc"), tags)?;
        }
        put(&dir.join(PLAYLIST.0), PLAYLIST.1)?;
        ALBUMS
            .iter()
            .enumerate()
            .try_for_each(|(number, album)| write_album(dir, number, album))
    })?;
    whole(profiles, |dir| {
        PROFILES
            .iter()
            .try_for_each(|(name, text)| put(&dir.join(format!("{name}.config")), text))
    })
}

/// Writes a collection of `tracks` tracks of a fifth of a second, with tags and a cover, in one album for every ten.
///
/// Needs no program; `dir` may exist.
pub fn tiny(dir: &Path, tracks: usize) -> Result<()> {
    for number in 0..tracks {
        let album = dir.join("Tiny & Co").join(format!("Album {}", number / 10 + 1));
        if number % 10 == 0 {
            put(
                &album.join("tags.vc"),
                format!("ARTIST=Tiny & Co\nALBUM=Album {}\n", number / 10 + 1),
            )?;
            put(&album.join("cover.png"), picture::png(number as u32, 16, false)?)?;
        }
        let name = format!("{:02}-Track {}", number % 10 + 1, number + 1);
        let sound = Sound {
            seed: number as u32,
            rate: 44_100,
            bits: 16,
            channels: 2,
            milliseconds: 200,
        };
        put(&album.join(format!("{name}.wav")), audio::wav(&sound))?;
        put(
            &album.join(format!("{name}.tags.vc")),
            format!("TITLE=Track {}\n", number + 1),
        )?;
    }
    Ok(())
}

/// Writes one stereo track of this many milliseconds, which takes an encoder a while.
pub fn long_track(path: &Path, seed: u32, milliseconds: u32) -> Result<()> {
    put(
        path,
        audio::wav(&Sound {
            seed,
            rate: 44_100,
            bits: 16,
            channels: 2,
            milliseconds,
        }),
    )
}

fn write_album(root: &Path, number: usize, album: &Album) -> Result<()> {
    let folder = root.join(album.folder);
    if !album.tags.is_empty() {
        put(&folder.join("tags.vc"), album.tags)?;
    }
    for (name, text) in album.sidecars {
        put(&folder.join(name), text)?;
    }
    match album.cover {
        Cover::None => (),
        Cover::Png(name) => put(&folder.join(name), picture::png(number as u32, 64, false)?)?,
        Cover::BigPng(name) => put(&folder.join(name), picture::png(number as u32, 300, true)?)?,
        Cover::Jpeg(name) => put(&folder.join(name), picture::jpeg(number as u32, 200)?)?,
    }
    for (position, track) in album.tracks.iter().enumerate() {
        let seed = (number * 100 + position) as u32;
        let (rate, bits) = if album.hires_first && position == 0 {
            (96_000, 24)
        } else {
            (44_100, album.bits)
        };
        let milliseconds = 2_000 + seed * 37 % 2_000;
        let sound = Sound {
            seed,
            rate,
            bits,
            channels: album.channels,
            milliseconds,
        };
        let path = folder.join(track);
        match Container::of(&path)? {
            Container::Wav => put(&path, audio::wav(&sound))?,
            Container::Aiff => put(&path, audio::aiff(&sound))?,
            Container::Flac => audio::flac(&sound, &path)?,
        }
    }
    Ok(())
}

/// Has `fill` write into a directory beside `dir`, then gives that its name; does nothing if `dir` exists.
fn whole(dir: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if dir.exists() {
        return Ok(());
    }
    let parent = dir
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(parent)?;
    fill(unfinished.path())?;
    let unfinished: PathBuf = unfinished.keep();
    fs::rename(&unfinished, dir).with_context(|| format!("renaming {} to {}", unfinished.display(), dir.display()))
}

/// Writes a file and the folders above it; two files of one name are a mistake in the tables.
fn put(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    ensure!(!path.exists(), "{} would be written twice", path.display());
    let folder = path.parent().context("a file needs a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.extend(files(&path));
            } else {
                all.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
        all.sort();
        all
    }

    #[test]
    fn the_sample_is_sixty_tracks_in_ten_albums_by_six_artists() {
        assert_eq!(ALBUMS.iter().map(|album| album.tracks.len()).sum::<usize>(), 60);
        assert_eq!(ALBUMS.iter().filter(|album| !album.later_disc).count(), 10);
        let mut artists: Vec<_> = ALBUMS.iter().map(|album| album.folder.split('/').next()).collect();
        artists.dedup();
        assert_eq!(artists.len(), 6);
    }

    #[test]
    fn the_same_sample_is_written_every_time() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| {
            let dir = dir.path().join(name);
            write(&dir.join("sources"), &dir.join("profiles")).unwrap();
            files(&dir)
                .into_iter()
                .map(|(path, bytes)| (path.strip_prefix(&dir).unwrap().to_owned(), bytes))
                .collect::<Vec<_>>()
        });
        assert!(first == second);
    }

    #[test]
    fn a_sample_that_exists_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (sources, profiles) = (dir.path().join("sources"), dir.path().join("profiles"));
        fs::create_dir(&sources).unwrap();
        write(&sources, &profiles).unwrap();
        assert!(files(&sources).is_empty());
        assert_eq!(files(&profiles).len(), PROFILES.len());
    }

    #[test]
    fn a_tiny_collection_has_as_many_tracks_as_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        tiny(dir.path(), 12).unwrap();
        let tracks = files(dir.path())
            .iter()
            .filter(|(path, _)| path.extension().unwrap() == "wav")
            .count();
        assert_eq!(tracks, 12);
    }
}
