import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export class NewAdapterError extends Error {
  constructor(
    message: string,
    /** It is the arguments that are wrong. */
    readonly isUsage: boolean,
  ) {
    super(message)
  }
}

/** The template is beside both the source and the build. */
const template = fileURLToPath(new URL('../template', import.meta.url))

/**
 * Makes `packages/<name>` in the workspace `root`.
 *
 * @returns its files
 * @throws NewAdapterError for a name that npm would not take, and where there is such a package already
 */
export function makePackage(root: string, name: string): string[] {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) {
    throw new NewAdapterError(
      `${JSON.stringify(name)} is no name for a package: use small letters, digits and single dashes, as in "my-queue".`,
      true,
    )
  }
  const home = join(root, 'packages', name)
  if (existsSync(home)) {
    throw new NewAdapterError(
      `packages/${name} is there already: take another name, or remove it first.`,
      false,
    )
  }
  const files = filesOf(template)
  for (const file of files) {
    const to = join(home, file)
    mkdirSync(dirname(to), { recursive: true })
    writeFileSync(to, filledIn(readFileSync(join(template, file), 'utf8'), name))
  }
  writeFileSync(join(home, 'LICENSE'), readFileSync(join(root, 'LICENSE')))
  return [...files, 'LICENSE'].sort()
}

/** Puts the name in for `my-queue`, `myQueue` and `MyQueue`. */
function filledIn(text: string, name: string): string {
  const camel = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
  const pascal = camel.charAt(0).toUpperCase() + camel.slice(1)
  return text.replaceAll('my-queue', name).replaceAll('myQueue', camel).replaceAll('MyQueue', pascal)
}

function filesOf(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
}
