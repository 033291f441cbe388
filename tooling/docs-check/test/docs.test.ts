import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { typeErrors } from '@holdfast/chaos'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const here = fileURLToPath(new URL('../', import.meta.url))

interface Block {
  readonly page: string
  readonly line: number
  readonly language: string
  readonly text: string
}

const pages = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: root,
})
  .toString()
  .split('\n')
  .filter((page) => page !== '' && !page.startsWith('.changeset') && existsSync(join(root, page)))

function blocksOf(page: string): Block[] {
  const text = readFileSync(join(root, page), 'utf8')
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({
    page,
    line: text.slice(0, match.index).split('\n').length,
    language: match[1]!,
    text: match[2]!,
  }))
}

describe('the docs', () => {
  const blocks = pages.flatMap(blocksOf)

  it('have code blocks that compile', () => {
    const checked = blocks.filter(({ language }) => language === 'ts')
    expect(checked.length).toBeGreaterThan(3)
    const files = Object.fromEntries(
      checked.map(({ page, line, text }) => [
        `${page.replaceAll('/', '_')}-line-${line}.ts`,
        `${text}\nexport {}\n`,
      ]),
    )
    expect(typeErrors(here, files, { include: [join(here, 'ambient.d.ts')] })).toBe('')
  })

  it('show the quick start as it is in the example', () => {
    const file = readFileSync(join(root, 'examples/graphile-worker/worker.js'), 'utf8')
    const quickStart = blocksOf('README.md').filter(({ language }) => language === 'js')
    expect(quickStart.map(({ text }) => text)).toEqual([file])
  })

  it('show the guide’s adapter as it is in the example', () => {
    const shown = blocksOf('docs/writing-an-adapter.md').filter(({ language }) => language === 'js')
    const files = ['adapter.js', 'worker.js', 'conformance.test.js']
    expect(shown.map(({ text }) => text)).toEqual(
      files.map((file) => readFileSync(join(root, 'examples/adapter', file), 'utf8')),
    )
  })

  it('link to files that exist', () => {
    const broken = pages.flatMap((page) => {
      const text = readFileSync(join(root, page), 'utf8')
      const links = [...text.matchAll(/\]\((?!https?:|#|mailto:)([^)#]+)/g)].map((match) => match[1]!)
      return links
        .filter((link) => !existsSync(join(root, dirname(page), link)))
        .map((link) => `${page}: ${link}`)
    })
    expect(broken).toEqual([])
  })

  it('have changesets that name packages', () => {
    const folder = join(root, '.changeset')
    const published = new Set(
      readdirSync(join(root, 'packages')).map(
        (name) => JSON.parse(readFileSync(join(root, 'packages', name, 'package.json'), 'utf8')).name,
      ),
    )
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.md'))) {
      const [, head] = /^---\n([\s\S]*?)\n---\n\n\S/.exec(readFileSync(join(folder, file), 'utf8')) ?? []
      const names = head?.split('\n').map((line) => /^'(.+)': (?:patch|minor|major)$/.exec(line)?.[1])
      expect(
        names?.every((name) => published.has(name)),
        `${file}: ${head}`,
      ).toBe(true)
    }
  })

  it('name every option of the monitor', async () => {
    const readme = readFileSync(join(root, 'README.md'), 'utf8')
    const source = readFileSync(join(root, 'packages/core/src/options.ts'), 'utf8')
    const options = [...source.matchAll(/^ {2}readonly (\w+)\??: /gm)].map((match) => match[1]!)
    const missing = options.filter(
      (option) => !readme.includes(`\`${option}\``) && !['db', 'adapters', 'dialect'].includes(option),
    )
    expect(missing).toEqual([])
  })
})
