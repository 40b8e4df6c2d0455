//! What tests can make go wrong within the server: it crashes at each point of each flow, and bugs are planted in it.

mod bugs;
mod crashes;
mod errands;
mod points;
