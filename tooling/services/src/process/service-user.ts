import { access, constants } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { run } from './run.js'

export interface OsUser {
  readonly uid: number
  readonly gid: number
}

/** Postgres and PgBouncer refuse to run as root; these users exist on most machines and own next to nothing. */
const CANDIDATES = ['postgres', 'nobody']

/** Whom root runs them as; undefined when the caller is not root and can run them as himself. */
export async function findServiceUser(): Promise<OsUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  for (const name of CANDIDATES) {
    const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])])
    if (uid.ok && gid.ok && Number(uid.output) !== 0)
      return { uid: Number(uid.output), gid: Number(gid.output) }
  }
  return undefined
}

/** Where the servers' folder goes: the first temporary folder that the service user can get through to. */
export async function findTempBase(user: OsUser | undefined): Promise<string> {
  for (const folder of [tmpdir(), '/tmp', '/var/tmp']) {
    if (await canEnter(folder, user)) return folder
  }
  return tmpdir()
}

async function canEnter(folder: string, user: OsUser | undefined): Promise<boolean> {
  try {
    await access(folder, constants.W_OK | constants.X_OK)
  } catch {
    // Not usable for us; the next one may be.
    return false
  }
  return !user || (await run('test', ['-x', folder], { ...user, cwd: '/' })).ok
}
