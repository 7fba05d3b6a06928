//! A twin as its users meet it: through its endpoint, its control API and its command line.

mod faults;
mod instances;
mod life;
mod passed;
mod permissions;
mod volumes;
mod world;
