//! Profiles: what one output of a build is made of.
