import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))

/**
 * What the workspace's TypeScript says of these files, as strict as it is with its own; empty when all is well.
 *
 * @param home the folder of the package that they are part of, so that its dependencies are found
 * @param files their text by their name
 * @param more further compiler options, and files by their absolute path
 */
export function typeErrors(
  home: string | URL,
  files: Readonly<Record<string, string>>,
  { options = {}, include = [] }: { options?: object; include?: readonly string[] } = {},
): string {
  const folder = join(
    typeof home === 'string' ? home : fileURLToPath(home),
    'node_modules/.cache',
    `types-${process.pid}`,
  )
  mkdirSync(folder, { recursive: true })
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
    const config = {
      extends: join(root, 'tsconfig.base.json'),
      compilerOptions: options,
      include: ['*.ts', ...include],
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
    return execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8' })
  } catch (error) {
    const { stdout } = error as { stdout?: string }
    if (!stdout) throw error
    return stdout
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
