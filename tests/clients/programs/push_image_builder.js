// Push with container-image-builder.
const fs = require('fs');
const { RegistryClient } = require('container-image-builder/build/src/registry');

const [address, repository, folder] = process.argv.slice(2);
const client = new RegistryClient(address, repository);
const read = (name) => fs.readFileSync(`${folder}/${name}`);

async function push() {
  for (const name of ['layer', 'config']) {
    await client.upload(read(name));
  }
  await client.manifestUpload('v1', read('manifest'));
}

push().then(() => process.exit(0), (error) => {
  console.error(String(error));
  process.exit(1);
});
