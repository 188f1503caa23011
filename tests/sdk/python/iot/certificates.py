"""Certificates of devices and of those who issue them, made for one test."""

import datetime
from pathlib import Path

from azure.iot.device import X509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

YEAR = datetime.timedelta(days=365)


class Certificate:
    """A certificate with its key: its own issuer, or issued by another, which then belongs to the chain shown."""

    def __init__(self, common_name, issuer=None, authority=False, validity=(-YEAR, YEAR)):
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        made = x509.CertificateBuilder(
            subject_name=name,
            issuer_name=issuer.certificate.subject if issuer else name,
            public_key=self.key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now + validity[0],
            not_valid_after=now + validity[1],
        ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        self.certificate = made.sign(issuer.key if issuer else self.key, hashes.SHA256())
        self.above = [issuer, *issuer.above] if issuer else []

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def thumbprint(self, algorithm=hashes.SHA256):
        return self.certificate.fingerprint(algorithm()).hex().upper()

    def for_sdk(self, folder):
        """What the SDK takes: files below `folder`, the chain without its root."""
        chain, key = (Path(folder) / f"{self.thumbprint()[:16]}.{kind}" for kind in ("pem", "key"))
        chain.write_text("".join(each.pem for each in [self, *self.above[:-1]]))
        plain = serialization.NoEncryption()
        pkcs8 = serialization.PrivateFormat.PKCS8
        key.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
        return X509(str(chain), str(key))
