import { existsSync } from 'node:fs'
import { access, constants, mkdir } from 'node:fs/promises'
import { homedir, tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where unpacked servers are kept: with the workspace if it is found, else with the user's caches or temporary files. */
export function cacheFolders(): string[] {
  const workspace = findWorkspace(dirname(fileURLToPath(import.meta.url)))
  const user = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return [
    ...(workspace ? [join(workspace, 'node_modules', '.cache', 'holdfast')] : []),
    join(user, 'holdfast'),
    // A user who may write neither, such as one without a home.
    join(tmpdir(), `cache-of-holdfast-${userInfo().uid}`),
  ]
}

export async function firstWritable(folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    try {
      await mkdir(folder, { recursive: true })
      await access(folder, constants.W_OK)
      return folder
    } catch {
      // Somebody else's checkout, or a user without a home: the next one.
    }
  }
  return undefined
}

function findWorkspace(start: string): string | undefined {
  for (let folder = start; dirname(folder) !== folder; folder = dirname(folder)) {
    if (existsSync(join(folder, 'pnpm-workspace.yaml'))) return folder
  }
  return undefined
}
