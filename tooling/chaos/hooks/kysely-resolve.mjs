let url

export function initialize({ version }) {
  url = new URL(`../dist/kysely-${version}/dist/index.js`, import.meta.url).href
}

/** Also for files of Kysely named by path, which is how vitest loads a dependency. */
export function resolve(specifier, context, next) {
  const isKysely =
    specifier === 'kysely' || /\/node_modules\/kysely\/dist\/(esm\/)?index\.js$/.test(specifier)
  return isKysely ? next(url, context) : next(specifier, context)
}
