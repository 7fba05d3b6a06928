//! The ladder: every way to get an instance, in the order in which they are tried.

use std::collections::HashMap;

use anyhow::{Context, Result};
use contract::input::Market;

use crate::Aws;
use crate::fault::Refusal;

/// One way to get an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rung {
    pub(crate) market: Market,
    pub(crate) instance_type: String,
    pub(crate) subnet: String,
    pub(crate) zone: String,
}

impl Rung {
    /// The rung in a word, also part of its client token.
    pub(crate) fn name(&self) -> String {
        let market = self.market.as_str();
        format!("{market}/{}/{}/{}", self.instance_type, self.zone, self.subnet)
    }
}

/// A subnet and its availability zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) zone: String,
}

/// The markets of an attempt, in order. The last one asks for an on-demand instance first, if it may: nobody takes that back.
pub(crate) fn markets(allowed: &[Market], attempt: u32, attempts: u32) -> Vec<Market> {
    let mut markets = allowed.to_vec();
    if attempt >= attempts {
        markets.sort_by_key(|market| *market == Market::Spot);
    }
    markets
}

/// All rungs in order: market by market, type by type, subnet by subnet. With volumes in a home zone, the whole ladder
/// there comes before any rung elsewhere: moving volumes takes far longer than a dearer instance costs.
pub(crate) fn rungs(markets: &[Market], types: &[String], subnets: &[Subnet], home: Option<&str>) -> Vec<Rung> {
    let mut rungs = Vec::new();
    for &market in markets {
        for instance_type in types {
            for Subnet { id, zone } in subnets {
                let (instance_type, subnet, zone) = (instance_type.clone(), id.clone(), zone.clone());
                rungs.push(Rung {
                    market,
                    instance_type,
                    subnet,
                    zone,
                });
            }
        }
    }
    rungs.sort_by_key(|rung| home.is_some_and(|home| rung.zone != home));
    rungs
}

/// These subnets with their zones, in the same order.
pub(crate) async fn subnets(aws: &Aws, ids: &[String]) -> Result<Vec<Subnet>> {
    let request = aws.ec2.describe_subnets().set_subnet_ids(Some(ids.to_vec()));
    let found = request.into_paginator().items().send().try_collect().await;
    let found = found
        .map_err(Refusal::from)
        .with_context(|| format!("looking at subnets {}", ids.join(", ")))?;
    let zones: HashMap<_, _> = found
        .iter()
        .filter_map(|subnet| Some((subnet.subnet_id()?, subnet.availability_zone()?)))
        .collect();
    ids.iter()
        .map(|id| {
            let zone = zones
                .get(id.as_str())
                .with_context(|| format!("subnet {id} does not exist: correct the main stack's parameters"))?;
            Ok(Subnet {
                id: id.clone(),
                zone: (*zone).to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(home: Option<&str>) -> Vec<String> {
        let subnets = ["a", "b"].map(|zone| Subnet {
            id: format!("subnet-{zone}"),
            zone: zone.to_owned(),
        });
        let types = ["big".to_owned(), "small".to_owned()];
        let rungs = rungs(&[Market::Spot, Market::OnDemand], &types, &subnets, home);
        rungs
            .iter()
            .map(|rung| rung.name().rsplit_once('/').unwrap().0.to_owned())
            .collect()
    }

    #[test]
    fn the_last_attempt_asks_for_what_is_not_taken_back() {
        let both = [Market::Spot, Market::OnDemand];
        assert_eq!(markets(&both, 2, 3), both);
        assert_eq!(markets(&both, 3, 3), [Market::OnDemand, Market::Spot]);
        assert_eq!(
            markets(&both[..1], 3, 3),
            [Market::Spot],
            "a build that may use spot only"
        );
    }

    #[test]
    fn markets_come_before_types_and_types_before_subnets() {
        let expected = [
            "spot/big/a",
            "spot/big/b",
            "spot/small/a",
            "spot/small/b",
            "on-demand/big/a",
            "on-demand/big/b",
            "on-demand/small/a",
            "on-demand/small/b",
        ];
        assert_eq!(names(None), expected);
    }

    #[test]
    fn the_home_zones_ladder_is_exhausted_before_any_other_zone() {
        let expected = [
            "spot/big/b",
            "spot/small/b",
            "on-demand/big/b",
            "on-demand/small/b",
            "spot/big/a",
            "spot/small/a",
            "on-demand/big/a",
            "on-demand/small/a",
        ];
        assert_eq!(names(Some("b")), expected);
    }
}
