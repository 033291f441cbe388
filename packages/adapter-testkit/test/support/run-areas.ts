import { type AdapterTestOptions, type TestQueue, type TestRunner, testAdapter } from '../../src/index.js'

type Body = () => void | Promise<void>

interface Group {
  readonly name: string
  readonly before: Body[]
  readonly after: Body[]
  readonly tests: { readonly name: string; readonly body: Body }[]
}

/** Runs the kit's areas of these names, and answers which of their tests failed, with the first line of why. */
export async function failuresIn<Queue extends TestQueue>(
  options: AdapterTestOptions<Queue>,
  areas: readonly string[],
): Promise<Map<string, string>> {
  const groups: Group[] = []
  const open: Group[] = []
  const runner: TestRunner = {
    describe(name, body) {
      const group: Group = { name, before: [], after: [], tests: [] }
      groups.push(group)
      open.push(group)
      body()
      open.pop()
    },
    it: (name, body) => void open.at(-1)!.tests.push({ name, body }),
    beforeAll: (body) => void open.at(-1)!.before.push(body),
    afterAll: (body) => void open.at(-1)!.after.push(body),
  }
  testAdapter(runner, options)
  const wanted = groups.filter(({ name }) => areas.includes(name))
  if (wanted.length !== areas.length)
    throw new Error(`no such area among ${groups.map(({ name }) => name).join('; ')}`)
  const failures = new Map<string, string>()
  for (const group of wanted) for (const [name, error] of await run(group)) failures.set(name, error)
  return failures
}

async function run({ before, after, tests }: Group): Promise<[string, string][]> {
  const failures: [string, string][] = []
  const note = (name: string) => (error: Error) => void failures.push([name, error.message.split('\n')[0]!])
  try {
    for (const body of before) await body()
    for (const { name, body } of tests) await Promise.resolve().then(body).catch(note(name))
  } catch (error) {
    note('its set-up')(error as Error)
  } finally {
    for (const body of after) await body()
  }
  return failures
}
