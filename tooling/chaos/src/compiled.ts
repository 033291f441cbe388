import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** By all the files asked for: what this process has compiled already. */
const known = new Map<string, URL>()

/**
 * A TypeScript file as JavaScript that node runs by itself, and starts soon: in one piece with the sources that it
 * imports, of which `import.meta.url` is then the same. Compiled anew by each process that asks, so never stale; kept in
 * its package's `node_modules`, where packages are found.
 *
 * @param beside files that it looks for at run time, beside its code: compiled too
 */
export function compiled(file: string | URL, beside: readonly URL[] = []): URL {
  const files = [file, ...beside].map((one) => (typeof one === 'string' ? one : fileURLToPath(one)))
  const key = files.join('\n')
  const url = known.get(key) ?? pathToFileURL(compile(files))
  known.set(key, url)
  return url
}

function compile(files: readonly string[]): string {
  const root = packageOf(files[0]!)
  const folder = join(root, 'node_modules/.cache/holdfast-children', relative(root, dirname(files[0]!)))
  // When needed only: children load this module too.
  const { buildSync }: typeof import('esbuild') = createRequire(import.meta.url)('esbuild')
  const { outputFiles } = buildSync({
    entryPoints: [...files],
    entryNames: '[name]',
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    // `sideEffects: false` is said of the published build; a script may import another for what it does.
    ignoreAnnotations: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: 'inline',
    sourcesContent: false,
    write: false,
  })
  mkdirSync(folder, { recursive: true })
  for (const { path, contents } of outputFiles) {
    // Other processes may be compiling or loading the same file.
    writeFileSync(`${path}.${process.pid}`, contents)
    renameSync(`${path}.${process.pid}`, path)
  }
  return join(folder, `${basename(files[0]!, '.ts')}.mjs`)
}

function packageOf(file: string): string {
  const folder = dirname(file)
  return existsSync(join(folder, 'package.json')) ? folder : packageOf(folder)
}
