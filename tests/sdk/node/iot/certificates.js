'use strict';

// Certificates of devices and of those who issue them, made by openssl for one test.

const { execFileSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

// What the system's own configuration would add to certificates is not wanted.
const CONFIGURATION = '[req]\ndistinguished_name = name\n[name]\n';

// A certificate with its key, both in PEM: its own issuer, or issued by another, which then belongs to the chain shown.
class Certificate {
  constructor(commonName, { issuer, authority = false } = {}) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'local-azure-sdk-'));
    const file = (name) => path.join(folder, name);
    try {
      fs.writeFileSync(file('openssl.cnf'), CONFIGURATION);
      const signing = [];
      if (issuer) {
        fs.writeFileSync(file('issuer.pem'), issuer.pem);
        fs.writeFileSync(file('issuer.key'), issuer.key, { mode: 0o600 });
        signing.push('-CA', file('issuer.pem'), '-CAkey', file('issuer.key'));
      }
      const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
      const names = ['-subj', `/CN=${commonName}`, '-addext', `basicConstraints=critical,CA:${authority ? 'TRUE' : 'FALSE'}`];
      const files = ['-config', file('openssl.cnf'), '-keyout', file('own.key'), '-out', file('own.pem')];
      execFileSync('openssl', ['req', '-x509', ...kind, ...names, ...files, ...signing], { stdio: 'pipe' });
      this.pem = fs.readFileSync(file('own.pem'), 'utf8');
      this.key = fs.readFileSync(file('own.key'), 'utf8');
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
    this.above = issuer ? [issuer, ...issuer.above] : [];
  }

  // In the form in which the services show it.
  thumbprint(algorithm = 'sha256') {
    const { raw } = new crypto.X509Certificate(this.pem);
    return crypto.createHash(algorithm).update(raw).digest('hex').toUpperCase();
  }

  // What the SDKs take: the chain without its root.
  forSdk() {
    return { cert: [this, ...this.above.slice(0, -1)].map(({ pem }) => pem).join(''), key: this.key };
  }
}

module.exports = { Certificate };
