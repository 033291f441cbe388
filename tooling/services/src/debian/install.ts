import { findExecutable } from '../process/find-executable.js'
import { type Outcome, run } from '../process/run.js'
import { waitUntil } from '../wait-until.js'

const LOCK_TIMEOUT_MS = 120_000

/**
 * Installs packages of Debian's or one of its relatives, as root. None of those that we name starts a service,
 * and nothing that is there is removed for them. Gives the reason when it cannot.
 */
export async function installOnDebian(
  what: string,
  packages: readonly string[],
  log: (line: string) => void,
): Promise<string | undefined> {
  if (!(await findExecutable('apt-get'))) return 'and this machine has no apt-get'
  if (process.getuid?.() !== 0) return 'and only root can install it'
  log(`${what} is not installed: apt-get installs ${packages.join(' ')}`)
  let outcome = await install(packages)
  if (!outcome.ok) {
    // The lists of packages may be missing or name versions that are gone from the mirror.
    await update()
    outcome = await install(packages)
  }
  return outcome.ok ? undefined : `and apt-get could not install it:\n${outcome.output}\n`
}

function install(packages: readonly string[]): Promise<Outcome> {
  const options = [
    '-y',
    '-q',
    '--no-install-recommends',
    '--no-remove',
    '-o',
    `DPkg::Lock::Timeout=${LOCK_TIMEOUT_MS / 1000}`,
  ]
  return apt(['install', ...options, ...packages])
}

/** Another apt-get may be at the lists, perhaps one of ours; apt itself does not wait for this lock. */
async function update(): Promise<void> {
  const unlocked = async () => !(await apt(['update', '-q'])).output.includes('Could not get lock')
  await waitUntil(unlocked, LOCK_TIMEOUT_MS, 500)
}

function apt(args: readonly string[]): Promise<Outcome> {
  return run('apt-get', args, { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' } })
}
