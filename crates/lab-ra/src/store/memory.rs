use std::collections::{HashMap, HashSet};

use super::{CertificateStatus, IssuedCertificate, Store, StoreError};

/// Keeps the certificates as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryStore {
    issued: HashMap<Vec<u8>, (CertificateStatus, Vec<u8>)>,
    transactions: HashSet<Vec<u8>>,
}

impl MemoryStore {
    /// Serial number, status and DER of each certificate, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], CertificateStatus, &[u8])> {
        self.issued
            .iter()
            .map(|(serial, (status, der))| (serial.as_slice(), *status, der.as_slice()))
    }
}

impl Store for MemoryStore {
    fn record(&mut self, issued: IssuedCertificate<'_>, _now_s: u64) -> Result<(), StoreError> {
        let entry = (CertificateStatus::Issued, issued.certificate.to_vec());
        self.issued.insert(issued.serial.to_vec(), entry);
        self.transactions.insert(issued.transaction_id.to_vec());
        Ok(())
    }

    fn change(&mut self, serial: &[u8], status: CertificateStatus, _now_s: u64) -> Result<(), StoreError> {
        let entry = self.issued.get_mut(serial).ok_or(StoreError::UnknownSerial)?;
        entry.0 = status;
        Ok(())
    }

    fn status(&self, serial: &[u8]) -> Option<CertificateStatus> {
        self.issued.get(serial).map(|(status, _)| *status)
    }

    fn has_transaction(&self, transaction_id: &[u8]) -> bool {
        self.transactions.contains(transaction_id)
    }
}
