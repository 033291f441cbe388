import { access, constants, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** Servers are often installed where only root's PATH looks. */
const EXTRA_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/usr/libexec']

/** Every executable of that name: on PATH, then in the folders for servers. */
export async function findExecutables(name: string): Promise<string[]> {
  const onPath = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const files = [...new Set([...onPath, ...EXTRA_FOLDERS])].map((folder) => join(folder, name))
  const usable = await Promise.all(files.map(isExecutable))
  return files.filter((_, index) => usable[index])
}

export async function findExecutable(name: string): Promise<string | undefined> {
  return (await findExecutables(name))[0]
}

export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK)
    return (await stat(file)).isFile()
  } catch {
    // Not there, or not for us: either way it is no candidate.
    return false
  }
}
