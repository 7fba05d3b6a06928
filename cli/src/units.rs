//! Numbers as people read them.

use std::time::Duration;

/// `1.5 GB`, `30.2 MB`, `12 kB`, `7 B`: powers of ten.
pub(crate) fn bytes(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// `1 track`, `2 tracks`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(30_200_000), "30.2 MB");
        assert_eq!(time(Duration::from_millis(400)), "0.4 s");
        assert_eq!(time(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(count(1, "track"), "1 track");
        assert_eq!(count(0, "track"), "0 tracks");
    }
}
