//! A person decides on requests for certificates before they are passed on; their requesters poll until then.

use cmp_message::{PkiBody, PkiFailure, PkiMessage, Raw};

use super::{Failure, Forwarder, Incoming, Refusal, Step, reply::waiting};
use crate::{
    StoreError,
    ra::refusal::RefusedIn,
    store::{Decision, Forwarded, NewApproval, Progress},
};

impl Forwarder {
    /// Keeps a request that passed every check until somebody has decided.
    pub(super) fn ask_person(
        &self,
        incoming: &Incoming<'_>,
        mut forwarded: Forwarded,
        subject: &str,
    ) -> Result<Step, Failure> {
        let body = incoming.body_type();
        forwarded.progress = Progress::Undecided;
        self.move_on(incoming, &mut forwarded);
        self.store.save_forwarded(&forwarded)?;
        self.store.record_approval(&NewApproval {
            id: &forwarded.id,
            body: body.name(),
            subject,
            message: incoming.received,
            profile: incoming.profile,
            began_s: incoming.now_s,
        })?;
        Ok(self.reply(incoming, waiting(body))?)
    }

    /// What somebody has decided, in answer to a pollReq.
    pub(super) fn decided(
        &self,
        incoming: &mut Incoming<'_>,
        mut forwarded: Forwarded,
        cert_req_id: i64,
    ) -> Result<Step, Failure> {
        let approval = self.store.approval(&forwarded.id)?;
        let approval = approval.ok_or(StoreError::Damaged("approvals"))?;
        if approval.decision == Decision::Open {
            self.move_on(incoming, &mut forwarded);
            self.store.save_forwarded(&forwarded)?;
            let reply = self.poll_rep(cert_req_id, Some("a person has to approve the request"));
            return Ok(self.reply(incoming, reply)?);
        }
        incoming.refused_in = RefusedIn::answer_to(forwarded.body.name());
        let released = match approval.decision {
            Decision::Denied(why) => Err(Refusal::new(PkiFailure::NotAuthorized, "5.1.1", why).into()),
            _ => self.release(
                incoming,
                &forwarded,
                &approval.message,
                approval.profile.as_deref(),
            ),
        };
        if let Err(Failure::Refused(_)) = &released {
            self.move_on_to_refusal(incoming, &mut forwarded)?;
        }
        released
    }

    /// Checks the request again, since much happens meanwhile, and passes it on.
    fn release(
        &self,
        asker: &Incoming<'_>,
        forwarded: &Forwarded,
        received: &[u8],
        profile: Option<&str>,
    ) -> Result<Step, Failure> {
        let outer = PkiMessage::from_bytes(received)?;
        let inside = match &*outer.body {
            PkiBody::Nested(content) => content.parse::<Vec<Raw>>()?.into_iter().next(),
            _ => None,
        };
        let inner = inside
            .as_ref()
            .map(|inner| PkiMessage::from_bytes(inner.as_bytes()));
        let inner = inner.transpose()?;
        let original = Incoming {
            now_s: asker.now_s,
            received,
            der: inside.as_ref().map_or(received, Raw::as_bytes),
            message: inner.as_ref().unwrap_or(&outer),
            is_vouched: inner.is_some(),
            profile,
            nonce: asker.nonce.clone(),
            peer: asker.peer.clone(),
            refused_in: asker.refused_in,
        };
        let checked = self.check(&original, &forwarded.peer)?;
        let mut forwarded = forwarded.clone();
        forwarded.forward = checked.forward;
        self.pass_on(&original, asker, forwarded)
    }
}
