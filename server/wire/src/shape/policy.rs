//! Policies of streams and consumers.

request!(
    /// Gives what has this ARN a policy.
    PutResourcePolicy {
        #[serde(rename = "ResourceARN")]
        resource_arn: String,
        policy: String,
    }
);

answer!(
    /// A policy, as it was given.
    ResourcePolicy {
        policy: String,
    }
);
