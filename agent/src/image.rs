//! What this image is made of: what the image build writes to `/PREFIX/image/ROLE`.

use contract::image::Image;

/// The versions found here, on the machine that is becoming an image.
pub fn describe() -> Image {
    let versions = compiler::versions();
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    Image {
        compiler: versions.compiler,
        encoders: versions.encoders,
        architecture: architecture.to_owned(),
    }
}
