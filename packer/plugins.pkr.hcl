# What packer has to load. Packer 1.6, which looks at the template in `make lint`, brings it along and knows no plugins.

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.2"
    }
  }
}
