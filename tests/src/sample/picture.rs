//! Covers: a gradient in colours of their own for every album, optionally under noise that does not compress.

use anyhow::{Context, Result};

/// Red, green and blue of every pixel.
fn pixels(seed: u32, side: u32, noisy: bool) -> Vec<u8> {
    let mut noise = seed.wrapping_mul(2).wrapping_add(1);
    let mut all = Vec::with_capacity((side * side * 3) as usize);
    for y in 0..side {
        for x in 0..side {
            let colour = [x * 255 / side, y * 255 / side, seed * 47 % 256];
            for value in colour {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = if noisy { value ^ (noise >> 24) } else { value };
                all.push(value as u8);
            }
        }
    }
    all
}

/// A square PNG.
pub(super) fn png(seed: u32, side: u32, noisy: bool) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, side, side);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().context("starting a PNG")?;
    writer
        .write_image_data(&pixels(seed, side, noisy))
        .context("writing a PNG")?;
    writer.finish().context("ending a PNG")?;
    Ok(file)
}

/// A square JPEG.
pub(super) fn jpeg(seed: u32, side: u16) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    jpeg_encoder::Encoder::new(&mut file, 85)
        .encode(
            &pixels(seed, u32::from(side), false),
            side,
            side,
            jpeg_encoder::ColorType::Rgb,
        )
        .context("writing a JPEG")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_cover_is_larger_than_lame_embeds() {
        assert!(png(1, 300, true).unwrap().len() > 128 * 1024);
    }
}
