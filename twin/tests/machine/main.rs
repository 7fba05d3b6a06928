//! Volumes and instances are real: every test runs in namespaces of its own, with shell scripts as agents.

mod world;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{World, inside, spec};

/// Stays until it is told to stop.
const IDLE: &str = "trap 'echo stopping; exit 0' TERM; echo idle; while :; do sleep 0.05; done";

/// Functions for agents: `device ID` waits for a volume, `gone ID` for its end, `get PATH` asks the metadata service.
const TOOLS: &str = r#"
device() { d=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$1; until [ -b "$d" ]; do sleep 0.02; done; echo "$d"; }
gone() { while [ -e "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_$1" ]; do sleep 0.02; done; }
api=http://169.254.169.254/latest
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" "$api/$1"; }
"#;

#[test]
fn what_an_instance_writes_is_in_the_snapshot_and_in_the_volume_made_from_it() {
    inside(
        "what_an_instance_writes_is_in_the_snapshot_and_in_the_volume_made_from_it",
        async |world: World| {
            let agent = "set -e; mkdir /srv/a /srv/b; d=$(device vol1); mkfs.ext4 -q $d; mount $d /srv/a; echo music > /srv/a/song
            umount /srv/a; echo written; gone vol1
            d=$(device vol2); e2fsck -fp $d; resize2fs $d; mount $d /srv/b; cat /srv/b/song; df --output=size -BG /srv/b; umount /srv/b; echo read";
            let machines = world.machines(&[TOOLS, agent, IDLE]).await;
            machines.create_volume("vol-1", 1, None).await.unwrap();
            machines.start(spec("i-1")).await.unwrap();
            machines.attach("i-1", "vol-1").await.unwrap();
            world.console(&machines, "i-1", "written").await;
            machines.detach("i-1", "vol-1").await.unwrap();
            machines.create_snapshot("vol-1", "snap-1").await.unwrap();
            machines.delete_volume("vol-1").await.unwrap();
            machines.create_volume("vol-2", 3, Some("snap-1")).await.unwrap();
            machines.delete_snapshot("snap-1").await.unwrap();
            machines.attach("i-1", "vol-2").await.unwrap();
            let console = world.console(&machines, "i-1", "read").await;
            assert!(console.contains("music") && console.contains(" 3G"), "{console}");
            machines.terminate("i-1").await.unwrap();
        },
    );
}

#[test]
fn a_snapshot_of_a_mounted_volume_is_what_a_power_cut_leaves() {
    inside(
        "a_snapshot_of_a_mounted_volume_is_what_a_power_cut_leaves",
        async |world: World| {
            let agent = "set -e; mkdir /srv/a /srv/b; d=$(device vol1); mkfs.ext4 -q $d; mount $d /srv/a; echo music > /srv/a/song
            sync /srv/a/song; (while :; do echo noise >> /srv/a/noise; done) & echo synced
            d=$(device vol2); mount $d /srv/b; cat /srv/b/song; umount /srv/b; e2fsck -fn $d; echo recovered";
            let machines = world.machines(&[TOOLS, agent, IDLE]).await;
            machines.create_volume("vol-1", 1, None).await.unwrap();
            machines.start(spec("i-1")).await.unwrap();
            machines.attach("i-1", "vol-1").await.unwrap();
            world.console(&machines, "i-1", "synced").await;
            machines.create_snapshot("vol-1", "snap-1").await.unwrap();
            machines.create_volume("vol-2", 1, Some("snap-1")).await.unwrap();
            machines.attach("i-1", "vol-2").await.unwrap();
            let console = world.console(&machines, "i-1", "recovered").await;
            assert!(console.contains("music"), "{console}");
            machines.vanish("i-1").await.unwrap();
        },
    );
}

#[test]
fn a_volume_grows_while_it_is_attached_and_never_shrinks() {
    inside(
        "a_volume_grows_while_it_is_attached_and_never_shrinks",
        async |world: World| {
            let agent =
                "d=$(device vol1); until [ $(blockdev --getsize64 $d) = 2147483648 ]; do sleep 0.02; done; echo grown";
            let machines = world.machines(&[TOOLS, agent, IDLE]).await;
            machines.create_volume("vol-1", 1, None).await.unwrap();
            machines.start(spec("i-1")).await.unwrap();
            machines.attach("i-1", "vol-1").await.unwrap();
            machines.modify_volume("vol-1", 2).await.unwrap();
            world.console(&machines, "i-1", "grown").await;
            assert!(machines.modify_volume("vol-1", 1).await.is_err());
            machines.create_snapshot("vol-1", "snap-1").await.unwrap();
            assert!(
                machines.create_volume("vol-2", 1, Some("snap-1")).await.is_err(),
                "smaller than its snapshot"
            );
            assert!(machines.delete_volume("vol-1").await.is_err(), "attached");
            assert!(machines.attach("i-1", "vol-1").await.is_err(), "attached already");
        },
    );
}

#[test]
fn a_mounted_volume_is_not_detached() {
    inside("a_mounted_volume_is_not_detached", async |world: World| {
        let agent = "set -e; d=$(device vol1); mkfs.ext4 -q $d; mount $d /srv; echo mounted
            device vol2; umount /srv; echo unmounted; gone vol1; echo gone";
        let machines = world.machines(&[TOOLS, agent, IDLE]).await;
        machines.create_volume("vol-1", 1, None).await.unwrap();
        machines.create_volume("vol-2", 1, None).await.unwrap();
        machines.start(spec("i-1")).await.unwrap();
        machines.attach("i-1", "vol-1").await.unwrap();
        world.console(&machines, "i-1", "mounted").await;
        let error = machines.detach("i-1", "vol-1").await.unwrap_err();
        assert!(format!("{error:#}").contains("vol-1 is in use"), "{error:#}");
        machines.attach("i-1", "vol-2").await.unwrap();
        world.console(&machines, "i-1", "unmounted").await;
        machines.detach("i-1", "vol-1").await.unwrap();
        machines.detach("i-1", "vol-1").await.unwrap();
        world.console(&machines, "i-1", "gone").await;
        machines.start(spec("i-2")).await.unwrap();
        machines.attach("i-2", "vol-1").await.unwrap();
    });
}

#[test]
fn the_metadata_service_answers_with_a_token_only() {
    inside(
        "the_metadata_service_answers_with_a_token_only",
        async |world: World| {
            let agent = r#"
            code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }
            echo "no token: $(code $api/meta-data/instance-id), no ttl: $(code -X PUT $api/api/token)"
            echo "wrong token: $(code -H 'X-aws-ec2-metadata-token: x' $api/meta-data/instance-id)"
            token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $api/api/token)
            for item in instance-id placement/availability-zone placement/region instance-type iam/security-credentials/; do
                echo "$item: $(get meta-data/$item)"
            done
            echo "user data: $(get user-data)"
            get meta-data/iam/security-credentials/worker; echo
            get dynamic/instance-identity/document; echo
            get meta-data/spot/instance-action || echo quiet
            until get meta-data/spot/instance-action; do sleep 0.02; done; echo; echo warned"#;
            let machines = world.machines(&[TOOLS, agent, IDLE]).await;
            machines.start(spec("i-1")).await.unwrap();
            world.console(&machines, "i-1", "quiet").await;
            machines.spot_notice("i-1").await.unwrap();
            let console = world.console(&machines, "i-1", "warned").await;
            for line in [
                "no token: 401, no ttl: 400",
                "wrong token: 401",
                "instance-id: i-1",
                "placement/availability-zone: us-east-1a",
                "placement/region: us-east-1",
                "instance-type: c7g.large",
                "iam/security-credentials/: worker",
                r#"user data: {"role":"worker"}"#,
                r#""SecretAccessKey":"secret""#,
                r#""region":"us-east-1""#,
                r#""action":"terminate""#,
            ] {
                assert!(console.contains(line), "{line} is missing in:\n{console}");
            }
        },
    );
}

#[test]
fn the_public_address_leads_to_a_server_inside_and_the_endpoint_leads_out() {
    inside(
        "the_public_address_leads_to_a_server_inside_and_the_endpoint_leads_out",
        async |world: World| {
            let agent = "mkdir /srv/www; cd /srv/www; curl -sf http://169.254.169.254:4566/ > index.html
            exec python3 -u -m http.server 80 --bind 0.0.0.0";
            let machines = world.machines(&[agent]).await;
            let running = machines.start(spec("i-1")).await.unwrap();
            assert_eq!(running.public_ip.octets()[0], 127);
            world.console(&machines, "i-1", "Serving HTTP").await;
            let page = world::get(running.public_ip, 80).await;
            assert!(page.ends_with("the endpoint of the host"), "{page}");
            assert_eq!(world::get(running.public_ip, 873).await, "", "nobody listens there");
            // A connection that stays open must not outlive the instance.
            let mut open = tokio::net::TcpStream::connect((running.public_ip, 80)).await.unwrap();
            open.write_all(b"GET").await.unwrap();
            machines.terminate("i-1").await.unwrap();
            tokio::time::timeout(world::PATIENCE, open.read(&mut [0; 1]))
                .await
                .expect("closed")
                .ok();
            assert!(tokio::net::TcpStream::connect((running.public_ip, 80)).await.is_err());
        },
    );
}

#[test]
fn an_instance_sees_the_host_read_only_and_nothing_of_its_user() {
    inside(
        "an_instance_sees_the_host_read_only_and_nothing_of_its_user",
        async |world: World| {
            let agent = r#"
            touch /usr/touched /etc/touched && echo "the host can be written"
            ls -A /root /srv /var/lib/vibes | grep -q '^[^/]' && echo "something is there"
            for d in /root /srv /run /tmp /var/lib/vibes; do touch $d/mine || echo "$d cannot be written"; done
            ls /dev | grep -E '^(loop|vda|sda)' && echo "a disk is there"
            echo "env: $(env | cut -d= -f1 | sort | tr '\n' ' ')"; echo "first: $(cat /proc/1/comm)"
            echo "user: $(getent passwd vibes)"; command -v vibes-compile; hostname; ps -e | wc -l; echo looked"#;
            let machines = world.machines(&[agent, IDLE]).await;
            machines.start(spec("i-1")).await.unwrap();
            let console = world.console(&machines, "i-1", "looked").await;
            for bad in [
                "can be written\n",
                "something is there",
                "cannot be written",
                "a disk is there",
            ] {
                assert!(!console.contains(bad), "{console}");
            }
            let environment = "env: AWS_ENDPOINT_URL AWS_REGION EXTRA HOME PATH PWD VIBES_POWER_OFF";
            for good in [
                environment,
                "user: vibes:x:900:900:",
                "/run/vibes/bin/vibes-compile",
                "ip-10-",
            ] {
                assert!(console.contains(good), "{good} is missing in:\n{console}");
            }
        },
    );
}

#[test]
fn tup_builds_as_an_unprivileged_user() {
    inside("tup_builds_as_an_unprivileged_user", async |world: World| {
        let agent = r#"set -e
            d=$(device vol1); mkfs.ext4 -q $d; mkdir /var/lib/vibes/builds; mount -o noexec,nosuid,nodev $d /var/lib/vibes/builds
            mkdir /var/lib/vibes/builds/work; chown vibes:vibes /var/lib/vibes/builds/work; cd /var/lib/vibes/builds/work
            as="setpriv --reuid=vibes --regid=vibes --clear-groups"
            echo ': foreach *.in |> cp %f %o |> %B.out' > Tupfile; for n in 1 2 3; do echo $n > $n.in; done
            $as tup init; $as tup; cat *.out; stat -c 'owner: %U' 1.out; echo 4 > 2.in; sleep 1.1; $as tup; cat 2.out
            cd /; umount /var/lib/vibes/builds; echo built"#;
        let machines = world.machines(&[TOOLS, agent, IDLE]).await;
        machines.create_volume("vol-1", 1, None).await.unwrap();
        machines.start(spec("i-1")).await.unwrap();
        machines.attach("i-1", "vol-1").await.unwrap();
        let console = world.console(&machines, "i-1", "built").await;
        assert!(
            console.contains("owner: vibes") && console.contains("1\n2\n3\n"),
            "{console}"
        );
    });
}

#[test]
fn terminate_lets_the_agent_stop_and_waits_until_nothing_is_left() {
    inside(
        "terminate_lets_the_agent_stop_and_waits_until_nothing_is_left",
        async |world: World| {
            let agent = "set -e; d=$(device vol1); mkfs.ext4 -q $d; mount $d /srv; setsid sleep 1000 & echo mounted";
            let machines = world.machines(&[TOOLS, agent, IDLE]).await;
            let mut exits = machines.exits();
            machines.create_volume("vol-1", 1, None).await.unwrap();
            machines.start(spec("i-1")).await.unwrap();
            machines.attach("i-1", "vol-1").await.unwrap();
            world.console(&machines, "i-1", "idle").await;
            machines.terminate("i-1").await.unwrap();
            assert!(machines.console("i-1").await.unwrap().contains("stopping"));
            world.assert_only_the_store_is_left();
            machines.terminate("i-1").await.unwrap();
            assert!(exits.try_recv().is_err(), "its end was asked for");
        },
    );
}

#[test]
fn an_agent_that_ignores_the_shutdown_is_killed() {
    inside("an_agent_that_ignores_the_shutdown_is_killed", async |world: World| {
        let machines = world
            .machines(&["trap '' TERM; echo deaf; while :; do sleep 1; done"])
            .await;
        machines.start(spec("i-1")).await.unwrap();
        world.console(&machines, "i-1", "deaf").await;
        machines.terminate("i-1").await.unwrap();
        world.assert_only_the_store_is_left();
    });
}

#[test]
fn an_instance_that_vanishes_or_powers_itself_off_is_reported() {
    inside(
        "an_instance_that_vanishes_or_powers_itself_off_is_reported",
        async |world: World| {
            let agent = "set -e; token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $api/api/token)
            id=$(get meta-data/instance-id); [ $id != i-off ] || exit 0
            d=$(device vol1); mkfs.ext4 -q $d; mount $d /srv; sleep 1000 & echo mounted; wait";
            let machines = world.machines(&[TOOLS, agent]).await;
            let mut exits = machines.exits();
            machines.create_volume("vol-1", 1, None).await.unwrap();
            machines.start(spec("i-off")).await.unwrap();
            assert_eq!(exits.recv().await.as_deref(), Some("i-off"));
            machines.start(spec("i-1")).await.unwrap();
            machines.attach("i-1", "vol-1").await.unwrap();
            world.console(&machines, "i-1", "mounted").await;
            machines.vanish("i-1").await.unwrap();
            world.assert_only_the_store_is_left();
            assert_eq!(exits.recv().await.as_deref(), Some("i-1"));
            assert!(machines.vanish("i-1").await.is_err());
            assert!(machines.attach("i-1", "vol-1").await.is_err());
        },
    );
}

#[test]
fn a_store_is_kept_and_has_one_twin_at_a_time() {
    inside("a_store_is_kept_and_has_one_twin_at_a_time", async |world: World| {
        let machines = world.machines(&[IDLE]).await;
        machines.create_volume("vol-1", 1, None).await.unwrap();
        assert!(machines.create_volume("vol-1", 1, None).await.is_err());
        let error = world.try_machines(&[IDLE]).await.err().expect("refused");
        assert!(format!("{error:#}").contains("another twin holds"), "{error:#}");
        assert!(machines.create_volume("../vol-2", 1, None).await.is_err());
        machines.delete_volume("vol-none").await.unwrap();
    });
}

#[test]
fn killing_the_twin_ends_everything_and_the_next_twin_goes_on() {
    world::killed_once(
        "killing_the_twin_ends_everything_and_the_next_twin_goes_on",
        async |world: World| {
            let agent =
                "set -e; d=$(device vol1); blkid -p $d || mkfs.ext4 -q $d; mount $d /srv; cat /srv/song || echo blank
            echo music > /srv/song; sync /srv/song";
            let machines = world.machines(&[TOOLS, agent, IDLE]).await;
            if world.doomed() {
                machines.create_volume("vol-1", 1, None).await.unwrap();
                machines.start(spec("i-1")).await.unwrap();
                machines.attach("i-1", "vol-1").await.unwrap();
                world.console(&machines, "i-1", "idle").await;
                world.die();
            }
            assert!(machines.console("i-1").await.unwrap().contains("blank"));
            machines.start(spec("i-2")).await.unwrap();
            machines.attach("i-2", "vol-1").await.unwrap();
            world.console(&machines, "i-2", "music").await;
            machines.terminate("i-2").await.unwrap();
            world.assert_only_the_store_is_left();
        },
    );
}

#[test]
fn an_instance_that_cannot_start_says_why_and_leaves_nothing() {
    inside(
        "an_instance_that_cannot_start_says_why_and_leaves_nothing",
        async |world: World| {
            let machines = world.machines(&[IDLE]).await;
            world.remove_agent();
            let error = machines.start(spec("i-1")).await.unwrap_err();
            assert!(format!("{error:#}").contains("agent in the instance"), "{error:#}");
            world.assert_only_the_store_is_left();
            assert!(machines.console("i-1").await.unwrap().contains("agent in the instance"));
        },
    );
}

#[test]
fn the_check_for_what_is_left_behind_sees_something() {
    inside(
        "the_check_for_what_is_left_behind_sees_something",
        async |world: World| {
            let machines = world
                .machines(&[TOOLS, "set -e; d=$(device vol1); mkfs.ext4 -q $d; mount $d /srv", IDLE])
                .await;
            machines.create_volume("vol-1", 1, None).await.unwrap();
            machines.start(spec("i-1")).await.unwrap();
            machines.attach("i-1", "vol-1").await.unwrap();
            world.console(&machines, "i-1", "idle").await;
            let seen = world.left_behind();
            for part in [" xfs ", " tmpfs ", "store.xfs", "machine-init"] {
                assert!(
                    seen.iter().any(|line| line.contains(part)),
                    "{part} is missing in {seen:?}"
                );
            }
        },
    );
}
