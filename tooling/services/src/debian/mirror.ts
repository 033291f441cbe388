import { run } from '../process/run.js'

const DEFAULT_KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'

export interface Mirror {
  readonly uri: string
  readonly keyring: string
}

/** The Debian mirror that this machine's own apt sources name, whatever format they are written in. */
export async function findMirror(): Promise<Mirror | undefined> {
  const { ok, output } = await run('apt-get', [
    'indextargets',
    '--format',
    '$(REPO_URI) $(SIGNED_BY)',
    'Identifier: Packages',
  ])
  if (!ok) return undefined
  for (const line of output.split('\n')) {
    const [uri = '', keyring = ''] = line.split(' ')
    if (uri.endsWith('/debian/')) return { uri, keyring: keyring.startsWith('/') ? keyring : DEFAULT_KEYRING }
  }
  return undefined
}
