//! Every target over its seeds, over every truncation of each and over each with one byte changed.

#[test]
fn every_target_returns_for_its_seeds_and_for_what_is_near_them() {
    for (name, target) in fuzz::TARGETS {
        let seeds = fuzz::seeds(name);
        assert!(seeds.len() >= 4, "{name} has {} seeds", seeds.len());
        for (_, seed) in seeds {
            target(&seed);
            let stride = 1 + seed.len() / 64;
            for at in (0..seed.len()).step_by(stride) {
                target(&seed[..at]);
                let mut changed = seed.clone();
                for value in [0x00, 0x7f, 0x80, 0xff, changed[at] ^ 1] {
                    changed[at] = value;
                    target(&changed);
                }
            }
        }
    }
}
