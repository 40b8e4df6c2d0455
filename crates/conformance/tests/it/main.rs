//! The suite, tried on the reference model: what the model cannot do, no store needs to.

use conformance::model::ModelFixture;

mod lists;

conformance::store_suite!(ModelFixture);
