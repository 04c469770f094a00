//! What belongs to an account, and to no stream of it.

use crate::codec::Timestamp;

request!(
    /// Changes an account's settings.
    UpdateAccountSettings {
        #[serde(deserialize_with = "super::structure::structure")]
        minimum_throughput_billing_commitment: BillingCommitmentInput,
    }
);

request!(
    /// Whether an account commits itself to pay for a least throughput.
    BillingCommitmentInput {
        status: String,
    }
);

answer!(
    /// An account's settings.
    AccountSettings {
        minimum_throughput_billing_commitment: BillingCommitment,
    }
);

answer!(
    /// Whether an account has committed itself to pay for a least throughput.
    BillingCommitment {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        started_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ended_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        earliest_allowed_end_at: Option<Timestamp>,
    }
);

answer!(
    /// How much of what an account may have.
    Limits {
        shard_limit: u32,
        open_shard_count: u32,
        on_demand_stream_count: u32,
        on_demand_stream_count_limit: u32,
    }
);
