// Push with docker-registry-client.
const crypto = require('crypto');
const fs = require('fs');
const { promisify } = require('util');
const { createClientV2 } = require('docker-registry-client');

const [address, repository, folder] = process.argv.slice(2);
const client = createClientV2({ name: `${address}/${repository}`, scheme: 'http' });
const read = (name) => fs.readFileSync(`${folder}/${name}`);
const digest = (bytes) => 'sha256:' + crypto.createHash('sha256').update(bytes).digest('hex');

async function push() {
  for (const name of ['layer', 'config']) {
    const bytes = read(name);
    const stream = fs.createReadStream(`${folder}/${name}`);
    const blob = { contentLength: bytes.length, digest: digest(bytes), stream };
    await promisify(client.blobUpload.bind(client))(blob);
  }
  const manifest = { manifest: read('manifest').toString(), ref: 'v1' };
  await promisify(client.putManifest.bind(client))(manifest);
  client.close();
}

push().then(() => process.exit(0), (error) => {
  console.error(String(error));
  process.exit(1);
});
