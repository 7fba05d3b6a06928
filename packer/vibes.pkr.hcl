# One image per role: newest official Debian 12, the packages of the role, our two programs and their unit.

variable "role" {
  type        = string
  description = "What the image is for: volmgr, worker or server."
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "arm64 or x86_64; the programs must be built for it."
}

variable "region" {
  type        = string
  description = "AWS region to make the image in."
}

variable "version" {
  type        = string
  description = "Version of vibes, as in Cargo.toml."
}

variable "programs" {
  type        = string
  description = "Directory that holds vibes-agent and vibes-compile, built for the architecture."
}

locals {
  debian_architecture = var.architecture == "arm64" ? "arm64" : "amd64"
  instance_type       = var.architecture == "arm64" ? "t4g.small" : "t3.small"
  started             = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "vibes" {
  region        = var.region
  instance_type = local.instance_type
  ssh_username  = "admin"
  ami_name      = "vibes-${var.role}-${var.architecture}-${local.started}"
  encrypt_boot  = true

  source_ami_filter {
    filters = {
      name                = "debian-12-${local.debian_architecture}-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"] # Debian's own account, see wiki.debian.org/Cloud/AmazonEC2Image
    most_recent = true
  }

  tags = {
    "Name"               = "vibes-${var.role}"
    "vibes:role"         = var.role
    "vibes:version"      = var.version
    "vibes:source-image" = "{{ .SourceAMI }}"
  }
}

build {
  sources = ["source.amazon-ebs.vibes"]

  provisioner "file" {
    source      = "${path.root}/rootfs"
    destination = "/tmp/rootfs"
  }

  provisioner "file" {
    source      = "${var.programs}/"
    destination = "/tmp"
  }

  provisioner "shell" {
    execute_command = "sudo env VIBES_ROLE=${var.role} bash '{{ .Path }}'"
    scripts = [
      "${path.root}/provision/packages.sh",
      "${path.root}/provision/programs.sh",
      "${path.root}/provision/check.sh",
    ]
  }
}
