import { readFile } from 'node:fs/promises'

/** The last lines of a server's log, to end an error message with. */
export async function logTail(file: string, lines = 25): Promise<string> {
  try {
    const text = (await readFile(file, 'utf8')).trimEnd()
    return text === '' ? '(its log is empty)' : text.split('\n').slice(-lines).join('\n')
  } catch (error) {
    return `(its log cannot be read: ${String(error)})`
  }
}
